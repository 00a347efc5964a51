//! History older than five minutes is compacted, by one replica a round.
//!
//! The replicas agree through one key: whoever moves its version forward compacts to the revision that it saw a
//! round before (upstream: storage/etcd3/compact.go).

use super::client::Put;
use super::{StoreClient, StoreError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const KEY: &str = "compact_rev_key";
const INTERVAL: Duration = Duration::from_secs(300);

/// Runs until cancelled.
pub(crate) async fn run_compaction(store: &StoreClient, cancel: CancellationToken) {
    let mut round = Round::default();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        if let Err(error) = round.advance(store).await {
            tracing::warn!(%error, "compaction round failed");
        }
    }
}

#[derive(Default)]
struct Round {
    /// `mod_revision` of the key as last seen, 0 before the key exists.
    seen: i64,
    /// The store's revision a round ago.
    previous: i64,
}

impl Round {
    async fn advance(&mut self, store: &StoreClient) -> Result<(), StoreError> {
        let text = self.previous.to_string();
        match store.put(KEY, text.as_bytes(), self.seen, 0).await? {
            Put::Done { revision } => {
                let compact_to = std::mem::replace(&mut self.previous, revision);
                self.seen = revision;
                if compact_to > 0 {
                    store.compact(compact_to).await?;
                    tracing::debug!(revision = compact_to, "compacted");
                }
            }
            Put::Conflict(found) => {
                // Another replica leads this round; try again from where it is now.
                self.seen = found.map_or(0, |stored| stored.mod_revision);
                self.previous = store.current_revision().await?;
            }
        }
        Ok(())
    }
}
