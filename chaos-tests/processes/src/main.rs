//! Runs a store of real processes under faults, once. Needs root, iproute2, nftables and util-linux.
//!
//! Ends with 0 when every promise was kept, 1 on a safety violation, 2 on a liveness violation, 3 on a crash,
//! 4 when it could not be run.

use anyhow::Context as _;
use chaos_processes::faults::Kind;
use chaos_processes::members::Program;
use chaos_processes::{Plan, places, run};
use chaos_store::{Options, runner};
use clap::Parser;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// As in the product's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// This program is a member, too, when it is called with this word and etcd's flags.
const MEMBER: &str = "kvstore";

/// The store as real processes, under faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// Decides which faults happen, and when; not what comes of it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Members of the store.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    members: u8,
    /// Faults happen for so long.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The mean time from one fault to the next.
    #[arg(long, default_value_t = 2_500)]
    fault_pace_ms: u64,
    /// Which kinds of faults happen, as in `kill,pause`; all of them unless said, `none` for none.
    #[arg(long)]
    faults: Option<String>,
    /// Which clients there are: `etcd=2,kubernetes=0,pace-ms=30`.
    #[arg(long)]
    workload: Option<String>,
    /// A program that takes etcd's flags, with the words before them: `etcd`, `trireme kvstore`. The members
    /// are this program unless said.
    #[arg(long)]
    program: Option<String>,
    /// Keeps what the members printed here.
    #[arg(long)]
    logs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == MEMBER) {
        return kvstore_cli::main(MEMBER, &words[1..]);
    }
    let arguments = Arguments::parse();
    match places::enter().and_then(|()| dispatch(&arguments)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(runner::USAGE)
        }
    }
}

fn dispatch(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut workload = Options::of_seed(1, usize::from(arguments.members)).workload;
    workload
        .change("etcd=3,kubernetes=3,leases=2,watchers=2,pace-ms=5,transfers=1,compactions=1")
        .and_then(|()| workload.change(arguments.workload.as_deref().unwrap_or_default()))
        .map_err(anyhow::Error::msg)?;
    let folder = tempfile::tempdir()?;
    let plan = Plan {
        seed: arguments.seed,
        program: program(arguments.program.as_deref())?,
        members: usize::from(arguments.members),
        trouble: Duration::from_secs(arguments.seconds),
        pace: Duration::from_millis(arguments.fault_pace_ms),
        kinds: kinds(arguments.faults.as_deref())?,
        workload,
        base: folder.path().to_owned(),
    };
    println!(
        "seed {}, {} members, {:?} of trouble, workload [{}]",
        plan.seed, plan.members, plan.trouble, plan.workload
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(run(plan));
    if let Some(logs) = &arguments.logs {
        keep_logs(folder.path(), logs)?;
    }
    let report = report?;
    println!("{report}");
    let code = report
        .violation
        .as_ref()
        .map_or(0, |found| found.class.exit_code());
    // Watchers of a run that broke off still hold their connections.
    runtime.shutdown_background();
    Ok(code)
}

fn program(text: Option<&str>) -> anyhow::Result<Program> {
    let own = std::env::current_exe().context("the program's own path")?;
    let own = own.into_os_string();
    let Some(text) = text else {
        return Ok(Program {
            path: own,
            before: vec![MEMBER.to_owned()],
        });
    };
    let mut words = text.split_whitespace().map(str::to_owned);
    Ok(Program {
        path: OsString::from(words.next().context("an empty program")?),
        before: words.collect(),
    })
}

fn kinds(text: Option<&str>) -> anyhow::Result<Vec<Kind>> {
    let Some(text) = text else {
        return Ok(Kind::ALL.to_vec());
    };
    let names = text.split(',').filter(|name| !name.is_empty() && *name != "none");
    names
        .map(|name| {
            let mut all = Kind::ALL.into_iter();
            all.find(|kind| kind.to_string() == name)
                .with_context(|| format!("`{name}` is no kind of fault"))
        })
        .collect()
}

fn keep_logs(from: &std::path::Path, to: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
