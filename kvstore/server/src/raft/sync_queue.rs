//! Group commit: whoever waits while a sync runs shares the next one.

use super::types::TypeConfig;
use kvstore_storage::{Engine, SyncStyle};
use openraft::storage::IOFlushed;
use prometheus::Histogram;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Appends that may wait for a sync. openraft pauses long before that: its own queue is smaller.
const QUEUE: usize = 4096;

/// Completes appends once they are durable.
#[derive(Clone)]
pub struct SyncQueue {
    shared: Arc<Shared>,
}

struct Shared {
    /// There until the last handle goes.
    sender: Option<mpsc::Sender<IOFlushed<TypeConfig>>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Shared {
    /// Waits for the thread, at most one sync long: a process that ended with a sync under way would take the
    /// database's own statics from under it.
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // It ends without a result; a panic has been reported already.
            let _ended = thread.join();
        }
    }
}

impl SyncQueue {
    /// Tells `durations` how long each sync took. Runs until all its handles are dropped: on a thread of its own in production, where a sync blocks;
    /// as a task in simulated time otherwise.
    pub fn start(engine: Arc<dyn Engine>, durations: Histogram) -> std::io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let thread = match engine.sync_style() {
            SyncStyle::Thread => Some(
                std::thread::Builder::new()
                    .name("raft-log-sync".to_owned())
                    .spawn(move || {
                        let mut waiting = Vec::new();
                        while receiver.blocking_recv_many(&mut waiting, QUEUE) > 0 {
                            let begun = Instant::now();
                            complete(&*engine, &mut waiting);
                            durations.observe(begun.elapsed().as_secs_f64());
                        }
                    })?,
            ),
            SyncStyle::Simulated(_) => {
                tokio::spawn(async move {
                    let mut waiting = Vec::new();
                    while receiver.recv_many(&mut waiting, QUEUE).await > 0 {
                        let begun = Instant::now();
                        // Asked every time: a simulated disk may grow slower.
                        if let SyncStyle::Simulated(latency) = engine.sync_style() {
                            tokio::time::sleep(latency).await;
                        }
                        complete(&*engine, &mut waiting);
                        durations.observe(begun.elapsed().as_secs_f64());
                    }
                });
                None
            }
        };
        let shared = Shared {
            sender: Some(sender),
            thread,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Tells `flushed` when everything written so far is durable.
    pub async fn push(&self, flushed: IOFlushed<TypeConfig>) -> std::io::Result<()> {
        let stopped = || std::io::Error::other("the log's sync has stopped");
        let sender = self.shared.sender.as_ref().ok_or_else(stopped)?;
        sender.send(flushed).await.map_err(|_| stopped())
    }
}

/// One sync for all that wait. They wrote before they came here, so it covers them.
fn complete(engine: &dyn Engine, waiting: &mut Vec<IOFlushed<TypeConfig>>) {
    let result = engine.sync();
    for flushed in waiting.drain(..) {
        flushed.io_completed(result.clone().map_err(Into::into));
    }
}
