//! Members of ours beside Debian's etcd, as processes of their own: the same load by the same client on both,
//! in turns, in the same run. Ratios count, not the figures of this machine. Both have their data on disk and
//! sync every acknowledged write.
//!
//! `cargo bench -p kvstore-server --bench etcd -- [OPTION…]`:
//! - `--members N`: members of each cluster, 3 unless said;
//! - `--only WORK` (repeatable), `--list`: which loads;
//! - `--ours` / `--theirs`: one side alone, for profiling;
//! - `--scale PERCENT`: how long each load is, 100 unless said;
//! - `--rounds N`: how often each load is run on each side; the best of each is shown.
// Members run in real time, outside of any simulation.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "etcd/contender.rs"]
mod contender;
#[path = "etcd/load.rs"]
mod load;
#[path = "etcd/member.rs"]
mod member;
#[path = "etcd/works.rs"]
mod works;

use contender::{Contender, Kind};
use load::Measured;
use works::{WORKS, Work};

/// As in the product's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Options {
    members: usize,
    only: Vec<String>,
    kinds: Vec<Kind>,
    scale: usize,
    rounds: usize,
}

fn options() -> Options {
    let mut options = Options {
        members: 3,
        only: Vec::new(),
        kinds: vec![Kind::Etcd, Kind::Ours],
        scale: 100,
        rounds: 1,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("the option has a value");
        match argument.as_str() {
            "--members" => options.members = value().parse().unwrap(),
            "--only" => options.only.push(value()),
            "--ours" => options.kinds = vec![Kind::Ours],
            "--theirs" => options.kinds = vec![Kind::Etcd],
            "--scale" => options.scale = value().parse().unwrap(),
            "--rounds" => options.rounds = value().parse().unwrap(),
            "--list" => {
                WORKS.iter().for_each(|work| println!("{}", work.name));
                std::process::exit(0);
            }
            // What cargo adds.
            "--bench" => {}
            other => panic!("unknown option {other}"),
        }
    }
    options
}

fn main() {
    // The same program is a member when it is called as one.
    if std::env::args().nth(1).as_deref() == Some(member::COMMAND) {
        return member::run();
    }
    let options = options();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    println!(
        "{} member(s) each\n{:30}{:>11}{:>11}{:>7} | {:>26} | {:>26} | processor µs",
        options.members, "", "etcd /s", "ours /s", "ratio", "etcd p50 p99", "ours p50 p99"
    );
    for work in WORKS {
        if options.only.is_empty() || options.only.iter().any(|name| work.name.contains(name.as_str())) {
            runtime.block_on(compare(work, &options));
        }
    }
}

/// One load on both, in turns, each on a cluster of its own that is new.
async fn compare(work: &Work, options: &Options) {
    let mut best: Vec<Option<Measured>> = options.kinds.iter().map(|_| None).collect();
    let mut clusters = Vec::new();
    for kind in &options.kinds {
        clusters.push(Contender::start(*kind, options.members).await);
    }
    for cluster in &mut clusters {
        (work.prepare)(cluster, options.scale).await;
    }
    for _ in 0..options.rounds {
        for (cluster, best) in clusters.iter_mut().zip(&mut best) {
            let before = cluster.processor_seconds();
            let mut measured = (work.run)(cluster, options.scale).await;
            measured.processor = cluster.processor_seconds() - before;
            if best.as_ref().is_none_or(|best| best.rate < measured.rate) {
                *best = Some(measured);
            }
        }
    }
    let side = |kind: Kind| {
        let at = options.kinds.iter().position(|k| *k == kind)?;
        best[at].as_ref()
    };
    let (theirs, ours) = (side(Kind::Etcd), side(Kind::Ours));
    let rate = |m: Option<&Measured>| m.map_or_else(String::new, |m| format!("{:.0}", m.rate));
    let latency = |m: Option<&Measured>| {
        m.map_or_else(String::new, |m| {
            format!("{:.2?} {:.2?}", m.percentile(50), m.percentile(99))
        })
    };
    let processor = |m: Option<&Measured>| {
        m.map_or_else(String::new, |m| {
            format!("{:.0}", m.processor * 1e6 / m.latencies.len().max(1) as f64)
        })
    };
    let ratio = match (theirs, ours) {
        (Some(theirs), Some(ours)) => format!("{:.2}", ours.rate / theirs.rate),
        _ => String::new(),
    };
    println!(
        "{:30}{:>11}{:>11}{:>7} | {:>26} | {:>26} | {} : {}{}",
        work.name,
        rate(theirs),
        rate(ours),
        ratio,
        latency(theirs),
        latency(ours),
        processor(theirs),
        processor(ours),
        [theirs, ours]
            .into_iter()
            .flatten()
            .map(|m| m.note.as_str())
            .filter(|note| !note.is_empty())
            .map(|note| format!("  {note}"))
            .collect::<String>(),
    );
}
