//! Group commit: whoever waits while a sync runs shares the next one.

use super::types::TypeConfig;
use kvstore_storage::{Engine, SyncStyle};
use openraft::storage::IOFlushed;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Appends that may wait for a sync. openraft pauses long before that: its own queue is smaller.
const QUEUE: usize = 4096;

/// Completes appends once they are durable.
#[derive(Clone)]
pub struct SyncQueue {
    sender: mpsc::Sender<IOFlushed<TypeConfig>>,
}

impl SyncQueue {
    /// Runs until all its handles are dropped: on a thread of its own in production, where a sync blocks;
    /// as a task in simulated time otherwise.
    pub fn start(engine: Arc<dyn Engine>) -> std::io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        match engine.sync_style() {
            SyncStyle::Thread => {
                std::thread::Builder::new()
                    .name("raft-log-sync".to_owned())
                    .spawn(move || {
                        let mut waiting = Vec::new();
                        while receiver.blocking_recv_many(&mut waiting, QUEUE) > 0 {
                            complete(&*engine, &mut waiting);
                        }
                    })?;
            }
            SyncStyle::Simulated(latency) => {
                tokio::spawn(async move {
                    let mut waiting = Vec::new();
                    while receiver.recv_many(&mut waiting, QUEUE).await > 0 {
                        tokio::time::sleep(latency).await;
                        complete(&*engine, &mut waiting);
                    }
                });
            }
        }
        Ok(Self { sender })
    }

    /// Tells `flushed` when everything written so far is durable.
    pub async fn push(&self, flushed: IOFlushed<TypeConfig>) -> std::io::Result<()> {
        self.sender
            .send(flushed)
            .await
            .map_err(|_| std::io::Error::other("the log's sync has stopped"))
    }
}

/// One sync for all that wait. They wrote before they came here, so it covers them.
fn complete(engine: &dyn Engine, waiting: &mut Vec<IOFlushed<TypeConfig>>) {
    let result = engine.sync();
    for flushed in waiting.drain(..) {
        flushed.io_completed(result.clone().map_err(Into::into));
    }
}
