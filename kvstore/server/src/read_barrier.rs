//! Linearizable reads, batched: everyone who asks while one confirmation runs shares the next.

use crate::consensus::Consensus;
use crate::metrics::Metrics;
use crate::status;
use std::sync::Arc;
use support::Sabotage;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::Status;

/// Readers that may wait for a confirmation; more are refused, as the leader can't be that far behind.
const QUEUE: usize = 16 * 1024;

type Waiter = oneshot::Sender<Result<(), Status>>;

/// Lets readers wait until the state is new enough.
#[derive(Clone)]
pub struct ReadBarrier {
    queue: mpsc::Sender<Waiter>,
    sabotage: Sabotage,
}

impl ReadBarrier {
    /// Runs until all its handles are dropped.
    pub fn start(consensus: Consensus, metrics: Arc<Metrics>) -> Self {
        let sabotage = consensus.sabotage;
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut readers: Vec<Waiter> = Vec::new();
            while waiting.recv_many(&mut readers, QUEUE).await > 0 {
                // Asked after all of them came: so it is new enough for each.
                let asked = Instant::now();
                let confirmed = consensus.read_index().await.map(|_| ());
                metrics.state.read_index(confirmed.is_ok(), asked.elapsed());
                for reader in readers.drain(..) {
                    // A reader that has gone away needs no answer.
                    let _ = reader.send(confirmed.clone());
                }
            }
        });
        Self { queue, sabotage }
    }

    /// Returns when the state of this member is at least as new as at the call.
    ///
    /// # Errors
    /// `Unavailable` when no leader confirms it.
    pub async fn wait(&self) -> Result<(), Status> {
        if self.sabotage.is("read-without-barrier") {
            return Ok(());
        }
        let (reader, answer) = oneshot::channel();
        self.queue
            .try_send(reader)
            .map_err(|_| status::too_many_requests())?;
        answer.await.map_err(|_| status::stopped())?
    }
}
