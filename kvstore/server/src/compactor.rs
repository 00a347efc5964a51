//! Removes compacted versions from disk, a little at a time, behind the writers.

use crate::store::Store;
use kvstore_core::compaction_step;
use kvstore_storage::StorageError;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Events visited in one step (etcd `--compaction-batch-limit`).
const STEP_EVENTS: usize = 1_000;
/// The pause between steps, for everyone else.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs until `cancel`; each wish for compaction is worked off in steps.
///
/// # Errors
/// When the disk fails; the member must stop.
pub async fn run(store: Arc<Store>, cancel: CancellationToken) -> Result<(), StorageError> {
    loop {
        let step = compaction_step(&*store.view(), STEP_EVENTS)?;
        store.write_local(&step.batch)?;
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(PAUSE), if !step.finished => {}
            () = store.compaction_wanted.notified(), if step.finished => {}
        }
    }
}
