//! Removes compacted versions from disk, a little at a time, behind the writers.

use crate::config::CompactionPace;
use crate::store::Store;
use kvstore_core::{Space, compaction_step};
use kvstore_storage::{StorageError, SyncStyle};
use std::sync::Arc;
use support::WallClock;
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
    clock: Arc<dyn WallClock>,
    cancel: CancellationToken,
) -> Result<(), StorageError> {
    let metrics = &store.metrics.compaction;
    let mut first = None;
    loop {
        let began = Instant::now();
        let Step { worked, finished } = step(&store, pace.batch.max(1)).await?;
        if worked {
            metrics.step(began.elapsed());
            first = first.or(Some(began));
        }
        if finished && let Some(first) = first.take() {
            metrics.finished(first.elapsed(), clock.now().as_second());
        }
        let rest = pace.pause.max(began.elapsed() * REST);
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(rest), if !finished => {}
            () = store.upkeep.wanted.notified(), if finished => {}
        }
    }
}

struct Step {
    /// Whether there was anything to do.
    worked: bool,
    /// Whether nothing is left to do.
    finished: bool,
}

/// One step, on a thread where it may block.
async fn step(store: &Arc<Store>, events: usize) -> Result<Step, StorageError> {
    match store.engine().sync_style() {
        SyncStyle::Simulated(_) => take(store, events),
        SyncStyle::Thread => {
            let store = Arc::clone(store);
            match tokio::task::spawn_blocking(move || take(&store, events)).await {
                Ok(outcome) => outcome,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is ending.
                Err(_) => Ok(Step {
                    worked: false,
                    finished: true,
                }),
            }
        }
    }
}

fn take(store: &Store, events: usize) -> Result<Step, StorageError> {
    let planned = store.upkeep.replacements();
    let step = compaction_step(&*store.view(), events)?;
    if !step.batch.is_empty() {
        store.write_step(&step, planned)?;
        let removed = step.batch.0.iter().filter(|write| write.space == Space::History);
        store.metrics.compaction.keys.inc_by(removed.count() as u64);
    }
    Ok(Step {
        worked: !step.batch.is_empty(),
        finished: step.finished,
    })
}
