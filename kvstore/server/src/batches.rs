//! Makes few large batches of many small proposals.
//!
//! While a few batches are under way, whatever comes meanwhile waits and shares the next one: under load batches
//! grow by themselves, and who comes alone does not wait.

use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// Batches under way. With one alone, whoever decides on it would be idle while the answer travels.
const IN_FLIGHT: usize = 4;
/// Proposals of one batch, and the bytes after which no further one is added.
const MAX_PROPOSALS: usize = 1024;
const MAX_BYTES: usize = 4 << 20;

/// Hands what comes in by `proposals` to `deliver`, until its senders are gone. Each delivery is a task.
pub async fn run<P, F>(
    mut proposals: mpsc::Receiver<P>,
    size: impl Fn(&P) -> usize,
    deliver: impl Fn(Vec<P>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    while let Some(first) = proposals.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let mut bytes = size(&first);
        let mut batch = vec![first];
        while batch.len() < MAX_PROPOSALS
            && bytes < MAX_BYTES
            && let Ok(next) = proposals.try_recv()
        {
            bytes += size(&next);
            batch.push(next);
        }
        let delivery = deliver(batch);
        tokio::spawn(async move {
            delivery.await;
            drop(place);
        });
    }
}
