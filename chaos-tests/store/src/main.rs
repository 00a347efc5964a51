//! Runs simulated worlds of the store: one seed, many, or one twice.
//!
//! Ends with 0 when every promise was kept, 1 on a safety violation, 2 on a liveness violation, 3 on a crash,
//! 4 when the arguments make no sense.

use chaos_store::{Options, Report, candidates, parse_faults, run, runner, sabotage};
use clap::Parser;
use serde_json::json;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The store in one deterministic world.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Decides everything: options, latencies, elections, faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A world for each of these seeds, `A..B` (B is left out), each in a process of its own.
    #[arg(long, value_parser = runner::parse_seeds, conflicts_with = "seed")]
    seeds: Option<Range<u64>>,
    /// So many worlds at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Members of the store.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=5))]
    members: u64,
    /// Which faults happen, and how often: `crash=2,pause=1`, or `none`.
    #[arg(long)]
    faults: Option<String>,
    /// Which clients there are: `etcd=2,kubernetes=0,pace-ms=30`; what isn't named is the seed's.
    #[arg(long)]
    workload: Option<String>,
    #[arg(long)]
    trouble_ms: Option<u64>,
    #[arg(long)]
    fault_pace_ms: Option<u64>,
    #[arg(long)]
    snapshot_entries: Option<u64>,
    /// Puts a known bug back in, to see whether it is found.
    #[arg(long)]
    sabotage: Option<String>,
    /// After a violation, looks for a smaller world with the same one.
    #[arg(long)]
    shrink: bool,
    /// Runs the world in two processes; their traces must be equal.
    #[arg(long)]
    twice: bool,
    /// Puts every known bug back in, one after the other, and tells how many worlds it takes to find it; or
    /// only the one given by `--sabotage`.
    #[arg(long)]
    prove: bool,
    /// Where a violation is written to, as JSON.
    #[arg(long, default_value = "target/chaos")]
    failures: PathBuf,
    /// Logs of the members, with simulated times, on standard error; filtered by `TRIREME_LOG`.
    #[arg(long)]
    logs: bool,
}

impl Arguments {
    fn options(&self, seed: u64) -> Result<Options, String> {
        let mut options = Options::of_seed(seed, usize::try_from(self.members).unwrap_or(3));
        if let Some(text) = &self.faults {
            options.faults = parse_faults(text)?;
        }
        if let Some(text) = &self.workload {
            options.workload.change(text)?;
        }
        let millis = |given: Option<u64>, usual| given.map_or(usual, Duration::from_millis);
        options.trouble = millis(self.trouble_ms, options.trouble);
        options.fault_pace = millis(self.fault_pace_ms, options.fault_pace);
        options.snapshot_entries = self.snapshot_entries.unwrap_or(options.snapshot_entries);
        options.sabotage = match &self.sabotage {
            Some(name) => Some(sabotage::find(name)?.name),
            None => None,
        };
        Ok(options)
    }
}

fn words(options: &Options) -> Vec<String> {
    options.arguments().split(' ').map(str::to_owned).collect()
}

fn main() -> ExitCode {
    runner::answer(dispatch)
}

fn dispatch(arguments: &Arguments) -> Result<u8, String> {
    let text = |error: std::io::Error| error.to_string();
    if let Some(seeds) = arguments.seeds.clone() {
        // Mistakes are told once, not by every world.
        arguments.options(seeds.start)?;
        let sweep = runner::sweep(
            seeds,
            arguments.jobs,
            |seed| {
                arguments
                    .options(seed)
                    .map(|options| words(&options))
                    .unwrap_or_default()
            },
            |_| false,
        );
        println!("{sweep}");
        return Ok(runner::exit_code(sweep.class()));
    }
    let options = arguments.options(arguments.seed)?;
    if arguments.prove {
        return prove(arguments);
    }
    if arguments.twice {
        return runner::twice(&words(&options)).map_err(text);
    }
    if arguments.shrink {
        let smallest = runner::shrink(options, candidates, words).map_err(text)?;
        println!("smallest: cargo run -p chaos-store -- {}", smallest.arguments());
        let ended = runner::run(&words(&smallest)).map_err(text)?;
        println!("{}", ended.output);
        return Ok(runner::exit_code(ended.class));
    }
    println!("options {options}");
    runner::report_panics(
        format!("seed {} of {} members", options.seed, options.members),
        format!("cargo run -p chaos-store -- {}", options.arguments()),
        arguments.failures.clone(),
    );
    if arguments.logs {
        chaos_store::log_to_stderr();
    }
    let report = run(options);
    println!("{report}");
    let Some(violation) = &report.violation else {
        return Ok(0);
    };
    println!("commit {}", runner::commit());
    println!(
        "again: cargo run -p chaos-store -- {}",
        report.options.arguments()
    );
    match write_failure(arguments, &report) {
        Ok(path) => println!("written to {}", path.display()),
        Err(error) => eprintln!("the failure could not be written: {error}"),
    }
    Ok(violation.class.exit_code())
}

fn prove(arguments: &Arguments) -> Result<u8, String> {
    let only = arguments.sabotage.as_deref();
    let failures = |bug: &str| arguments.failures.join(bug).display().to_string();
    let words = |bug: &sabotage::Bug| {
        ["--members", "3", "--failures", &failures(bug.name)]
            .map(str::to_owned)
            .to_vec()
    };
    let hidden = runner::prove(sabotage::BUGS, only, arguments.jobs, words);
    Ok(u8::from(hidden > 0))
}

fn write_failure(arguments: &Arguments, report: &Report) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(&arguments.failures)?;
    let options = &report.options;
    let path = arguments
        .failures
        .join(format!("store-{}-seed-{}.json", options.members, options.seed));
    let violation = report.violation.as_ref();
    let failure = json!({
        "seed": options.seed,
        "commit": runner::commit(),
        "options": options.to_string(),
        "again": format!("cargo run -p chaos-store -- {}", options.arguments()),
        "class": violation.map(|violation| violation.class.to_string()),
        "promise": violation.map(|violation| violation.promise.clone()),
        "what": violation.map(|violation| violation.what.clone()),
        "simulated_ms": u64::try_from(report.simulated.as_millis()).unwrap_or(u64::MAX),
        "operations": report.operations,
        "revision": report.revision,
        "faults": report.faults,
        "dump": report.dump,
        "trace": format!("{:016x}", report.trace.hash),
    });
    std::fs::write(&path, format!("{failure:#}\n"))?;
    Ok(path)
}
