//! Every call fails once.

use super::faulty::{Fault, FaultyEngine};
use super::workload;
use kvstore_storage::{Engine, MemoryDisk, RocksEngine, RocksOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Runs the workload until `fault`; gives the last acknowledged entry and the calls made.
fn run(engine: Arc<dyn Engine>, steps: u64, fault: Fault) -> (u64, u64) {
    let faulty = Arc::new(FaultyEngine::new(engine, fault));
    let mut acknowledged = 0;
    let engine: Arc<dyn Engine> = Arc::clone(&faulty) as Arc<dyn Engine>;
    let outcome = workload::run(&engine, (1, steps), &mut |index| acknowledged = index);
    assert_eq!(outcome.is_err(), fault != Fault::Never);
    assert_eq!(faulty.failure().is_some(), fault != Fault::Never);
    if fault != Fault::Never {
        // Nothing works any more, whatever failed.
        assert!(engine.sync().is_err() && engine.write(&Default::default()).is_err());
    }
    (acknowledged, faulty.calls())
}

#[test]
fn the_simulated_disk_keeps_its_promises_whichever_call_fails() {
    const STEPS: u64 = 40;
    let whole = MemoryDisk::new();
    let (_, calls) = run(Arc::new(whole.open(Duration::ZERO)), STEPS, Fault::Never);
    assert!(calls > 300, "only {calls} calls");
    for call in 0..calls {
        for fault in [Fault::Before(call), Fault::After(call)] {
            let disk = MemoryDisk::new();
            let (acknowledged, _) = run(Arc::new(disk.open(Duration::ZERO)), STEPS, fault);
            // Of what was not synced any part may have been written, from the front.
            disk.survive(call as usize % (disk.unsynced() + 1));
            let engine: Arc<dyn Engine> = Arc::new(disk.open(Duration::ZERO));
            workload::check(&engine, acknowledged);
        }
    }
}

fn rocks(path: &Path) -> Arc<dyn Engine> {
    Arc::new(RocksEngine::open(path, RocksOptions::default()).expect("opens"))
}

#[test]
fn rocksdb_keeps_its_promises_whichever_call_fails() {
    const STEPS: u64 = 24;
    let folder = tempfile::tempdir().expect("temp dir");
    let (_, calls) = run(rocks(&folder.path().join("whole")), STEPS, Fault::Never);
    // Opening a database takes its time: not every call, but from run to run of this list the same ones.
    for call in (0..calls).step_by(5) {
        let fault = if call % 2 == 0 {
            Fault::Before(call)
        } else {
            Fault::After(call)
        };
        let path = folder.path().join(call.to_string());
        let (acknowledged, _) = run(rocks(&path), STEPS, fault);
        workload::check(&rocks(&path), acknowledged);
    }
}
