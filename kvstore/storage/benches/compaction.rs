//! What compaction of many revisions does to writers, and to the disk.
//!
//! `cargo bench -p kvstore-storage --bench compaction [-- REVISIONS]`: writes so many revisions of 10,000
//! keys, then puts one after the other, alone and while all of them are compacted at a member's pace.
// A bench takes real time.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use kvstore_core::{Command, Overlay, apply, compaction_step};
use kvstore_storage::{Engine, RocksEngine, RocksOptions};
use proto::etcdserverpb::{CompactionRequest, PutRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const KEYS: u64 = 10_000;
const PUTS_ALONE: u64 = 2_000;
/// As in a member (`kvstore/server/src/compactor.rs`).
const STEP: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(10);
const REST: u32 = 3;

fn put(number: u64) -> Command {
    Command {
        put: Some(PutRequest {
            key: format!("/registry/things/{:06}", number * 7919 % KEYS).into(),
            value: vec![number as u8; 256].into(),
            ..PutRequest::default()
        }),
        ..Command::default()
    }
}

fn run(engine: &dyn Engine, commands: impl IntoIterator<Item = Command>) {
    let batch = {
        let view = engine.view();
        let mut state = Overlay::new(&*view);
        for command in commands {
            apply(&mut state, &command).unwrap().reply.unwrap();
        }
        state.into_batch()
    };
    engine.write(&batch).unwrap();
}

/// Puts one after the other, each synced, until `enough`; prints how long they took.
fn measure(what: &str, engine: &dyn Engine, mut enough: impl FnMut(u64) -> bool) {
    let mut times = Vec::new();
    while !enough(times.len() as u64) {
        let began = Instant::now();
        run(engine, [put(times.len() as u64)]);
        engine.sync().unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{what}: {} puts, p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

fn files(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().map_or(0, |data| data.len()))
        .sum()
}

fn main() {
    let revisions = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(200_000_u64);
    let folder = tempfile::tempdir().unwrap();
    let engine: Arc<dyn Engine> =
        Arc::new(RocksEngine::open(folder.path(), RocksOptions::default()).unwrap());
    let began = Instant::now();
    for start in (0..revisions).step_by(500) {
        run(&*engine, (start..start + 500).map(put));
    }
    engine.sync().unwrap();
    println!(
        "{revisions} revisions written in {:?}, {} MB",
        began.elapsed(),
        files(folder.path()) >> 20
    );
    measure("alone", &*engine, |puts| puts == PUTS_ALONE);

    let compact = Command {
        compaction: Some(CompactionRequest {
            revision: revisions.cast_signed(),
            physical: false,
        }),
        ..Command::default()
    };
    run(&*engine, [compact]);
    let finished = Arc::new(AtomicBool::new(false));
    let compactor = {
        let (engine, finished) = (Arc::clone(&engine), Arc::clone(&finished));
        std::thread::spawn(move || {
            let (began, mut worked, mut steps, mut longest) =
                (Instant::now(), Duration::ZERO, 0, Duration::ZERO);
            loop {
                let step_began = Instant::now();
                let step = compaction_step(&*engine.view(), STEP).unwrap();
                engine.write(&step.batch).unwrap();
                let took = step_began.elapsed();
                (worked, longest, steps) = (worked + took, longest.max(took), steps + 1);
                if step.finished {
                    break;
                }
                std::thread::sleep(PAUSE.max(took * REST));
            }
            finished.store(true, Ordering::Release);
            println!(
                "compacted in {:?}: {steps} steps, {worked:?} of work, longest {longest:?}",
                began.elapsed()
            );
        })
    };
    measure("while compacting", &*engine, |_| finished.load(Ordering::Acquire));
    compactor.join().unwrap();
    println!("after compaction: {} MB", files(folder.path()) >> 20);
    let began = Instant::now();
    engine.reclaim(&mut || true).unwrap();
    println!(
        "after reclaiming for {:?}: {} MB",
        began.elapsed(),
        files(folder.path()) >> 20
    );
}
