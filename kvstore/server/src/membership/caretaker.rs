//! The leader's care for the membership: nothing stays half done, and nobody waits for a vote for nothing.

use super::changes::Changes;
use openraft::async_runtime::WatchReceiver as _;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the leader looks after members that are still catching up.
const TICK: Duration = Duration::from_millis(50);
/// How often the leader looks who is silent, where that matters.
const LOOK: Duration = Duration::from_millis(500);

/// Follows the membership until `cancel`: every member takes up where the others are, the leader tends.
pub async fn tend(changes: Changes, cancel: CancellationToken) {
    let mut metrics = changes.consensus().raft().server_metrics();
    loop {
        changes.consensus().learn_addresses();
        changes.observe();
        let settled = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            settled = changes.settle() => settled,
        };
        let more = settled.unwrap_or_else(|status| {
            tracing::debug!(%status, "tending the membership");
            true
        });
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            changed = metrics.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(TICK), if more => {}
            () = tokio::time::sleep(LOOK), if changes.observes() => {}
        }
    }
}
