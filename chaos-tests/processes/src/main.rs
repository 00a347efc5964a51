//! Runs a store, or a whole control plane, of real processes under faults, once. Needs root, iproute2, nftables and util-linux.
//!
//! Ends with 0 when every promise was kept, 1 on a safety violation, 2 on a liveness violation, 3 on a crash,
//! 4 when it could not be run.

use anyhow::Context as _;
use chaos_processes::faults::Kind;
use chaos_processes::members::Program;
use chaos_processes::{Plan, places, planes, run};
use chaos_store::{Options, Violation, runner};
use chaos_tests::Topology;
use clap::Parser;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// As in the product's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// This program is a member, too, when it is called with this word and etcd's flags.
const MEMBER: &str = "kvstore";

/// A store, or a whole control plane, as real processes, under faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// Decides which faults happen, and when; not what comes of it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A whole control plane: all-in-one, single, single-external, ha-stacked-3, ha-stacked-5, ha-external-3,
    /// ha-external-5. Unless said, only a store.
    #[arg(long, value_parser = Topology::parse)]
    topology: Option<Topology>,
    /// Nodes beside a control plane.
    #[arg(long, default_value_t = 2)]
    nodes: usize,
    /// Members of the store, where that is all.
    #[arg(long, default_value_t = 3, conflicts_with = "topology", value_parser = clap::value_parser!(u8).range(1..=5))]
    members: u8,
    /// Faults happen for so long.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The mean time from one fault to the next [default: 2500, of a control plane 5000].
    #[arg(long)]
    fault_pace_ms: Option<u64>,
    /// Which kinds of faults happen, as in `kill,pause`; all of them unless said, `none` for none.
    #[arg(long)]
    faults: Option<String>,
    /// Which clients there are, of a store: `etcd=2,kubernetes=0,pace-ms=30`; of a control plane:
    /// `deployments=2,stateful-sets=0,counters=3,appliers=2`.
    #[arg(long)]
    workload: Option<String>,
    /// A program that takes etcd's flags, with the words before them: `etcd`, `trireme kvstore`; the members
    /// are this program unless said. Of a control plane: `trireme`, unless said the one beside this program.
    #[arg(long)]
    program: Option<String>,
    /// Nobody works with `kubectl` on the control plane.
    #[arg(long)]
    no_kubectl: bool,
    /// Keeps what the processes printed here.
    #[arg(long)]
    logs: Option<PathBuf>,
}

/// Users of a control plane whose whole workload isn't given.
const USERS: chaos_tests::Workload = chaos_tests::Workload {
    deployments: 2,
    stateful_sets: 1,
    counters: 3,
    appliers: 2,
    steady: 0,
};
const WRITERS: usize = 4;

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
    match arguments.topology {
        Some(topology) => plane(arguments, topology),
        None => store(arguments),
    }
}

fn store(arguments: &Arguments) -> anyhow::Result<u8> {
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
        pace: Duration::from_millis(arguments.fault_pace_ms.unwrap_or(2_500)),
        kinds: kinds(arguments.faults.as_deref())?,
        workload,
        base: folder.path().to_owned(),
    };
    println!(
        "seed {}, {} members, {:?} of trouble, workload [{}]",
        plan.seed, plan.members, plan.trouble, plan.workload
    );
    let violation = |report: &chaos_processes::Report| report.violation.clone();
    conclude(arguments, folder.path(), run(plan), violation)
}

fn plane(arguments: &Arguments, topology: Topology) -> anyhow::Result<u8> {
    let mut workload = USERS;
    workload
        .change(arguments.workload.as_deref().unwrap_or_default())
        .map_err(anyhow::Error::msg)?;
    let beside = std::env::current_exe()?.with_file_name("trireme");
    let folder = tempfile::tempdir()?;
    let plan = planes::Plan {
        seed: arguments.seed,
        program: arguments.program.as_ref().map_or(beside, PathBuf::from),
        topology,
        nodes: arguments.nodes,
        trouble: Duration::from_secs(arguments.seconds),
        pace: Duration::from_millis(arguments.fault_pace_ms.unwrap_or(5_000)),
        kinds: kinds(arguments.faults.as_deref())?,
        workload,
        writers: WRITERS,
        kubectl: !arguments.no_kubectl,
        base: folder.path().to_owned(),
    };
    println!(
        "seed {}, {topology} with {} nodes, {:?} of trouble, workload [{}]",
        plan.seed, plan.nodes, plan.trouble, plan.workload
    );
    let violation = |report: &planes::Report| report.violation.clone();
    conclude(arguments, folder.path(), planes::run(plan), violation)
}

/// Runs to the end and prints the report; gives the exit code.
fn conclude<R: Display>(
    arguments: &Arguments,
    folder: &Path,
    running: impl Future<Output = anyhow::Result<R>>,
    violation: impl Fn(&R) -> Option<Violation>,
) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let report = runtime.block_on(local.run_until(running));
    if let Some(logs) = &arguments.logs {
        keep_logs(folder, logs)?;
    }
    let report = report?;
    println!("{report}");
    // Watchers of a run that broke off still hold their connections.
    drop(local);
    runtime.shutdown_background();
    Ok(violation(&report).map_or(0, |found| found.class.exit_code()))
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
    text.map_or_else(|| Ok(Kind::ALL.to_vec()), Kind::parse_list)
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
