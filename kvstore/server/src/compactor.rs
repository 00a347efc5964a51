//! Removes compacted versions from disk, a little at a time, behind the writers.

use crate::config::CompactionPace;
use crate::store::Store;
use kvstore_core::{Space, compaction_step};
use kvstore_storage::{StorageError, SyncStyle};
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two steps there is at least this many times the time that the last one took: whatever the disk,
/// compaction takes a quarter of it at most.
const REST: u32 = 3;

/// Runs until `cancel`; each wish for compaction is worked off in steps.
///
/// # Errors
/// When the disk fails; the member must stop.
pub async fn run(
    store: Arc<Store>,
    pace: CompactionPace,
    cancel: CancellationToken,
) -> Result<(), StorageError> {
    loop {
        let began = Instant::now();
        let finished = step(&store, pace.batch.max(1)).await?;
        let rest = pace.pause.max(began.elapsed() * REST);
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(rest), if !finished => {}
            () = store.upkeep.wanted.notified(), if finished => {}
        }
    }
}

/// One step, on a thread where it may block; says whether nothing is left to do.
async fn step(store: &Arc<Store>, events: usize) -> Result<bool, StorageError> {
    match store.engine().sync_style() {
        SyncStyle::Simulated(_) => take(store, events),
        SyncStyle::Thread => {
            let store = Arc::clone(store);
            match tokio::task::spawn_blocking(move || take(&store, events)).await {
                Ok(outcome) => outcome,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is ending.
                Err(_) => Ok(true),
            }
        }
    }
}

fn take(store: &Store, events: usize) -> Result<bool, StorageError> {
    let planned = store.upkeep.replacements();
    let step = compaction_step(&*store.view(), events)?;
    if !step.batch.is_empty() {
        store.write_step(&step, planned)?;
        let removed = step.batch.0.iter().filter(|write| write.space == Space::History);
        store.metrics.state.compacted_keys.inc_by(removed.count() as u64);
    }
    Ok(step.finished)
}
