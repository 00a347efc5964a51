//! Long reading beside everything else: on a thread of its own, a slice at a time, on one view.
//!
//! In a simulation, where time stands still while a task runs, it's done at once instead.

use crate::store::Store;
use kvstore_core::{OnSlice, Read};
use kvstore_storage::SyncStyle;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Work aside rests so many times as long as it works: it takes a quarter of a processor at most.
const REST: u32 = 3;

/// Work under way. Dropping it ends the work at its next slice.
pub struct Aside<T> {
    result: oneshot::Receiver<T>,
    /// Only there to be dropped.
    _stop: Sender<()>,
}

impl<T> Aside<T> {
    /// What it came to; `None` when it was cut short by the end of the process.
    pub async fn result(&mut self) -> Option<T> {
        (&mut self.result).await.ok()
    }

    /// What it came to, once; `None` while it is under way.
    pub fn poll(&mut self) -> Option<T> {
        self.result.try_recv().ok()
    }
}

/// Starts `work` on the state as it is now.
pub fn start<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&dyn Read, OnSlice<'_>) -> T + Send + 'static,
) -> Aside<T> {
    let (sender, result) = oneshot::channel();
    let (stop, stopped) = channel();
    let view = store.view();
    match store.engine().sync_style() {
        SyncStyle::Simulated(_) => {
            // Nobody waits for it only if it's dropped already.
            let _ = sender.send(work(&*view, &mut || true));
        }
        SyncStyle::Thread => {
            tokio::task::spawn_blocking(move || {
                let mut pace = Pace {
                    stopped,
                    since: Instant::now(),
                };
                let _ = sender.send(work(&*view, &mut || pace.rest()));
            });
        }
    }
    Aside { result, _stop: stop }
}

/// Keeps work aside from taking more than its share.
struct Pace {
    stopped: Receiver<()>,
    since: Instant,
}

impl Pace {
    /// Rests after a slice; `false`: nobody wants the result any more.
    fn rest(&mut self) -> bool {
        let worked = self.since.elapsed();
        let wanted = self.stopped.recv_timeout(worked * REST) == Err(RecvTimeoutError::Timeout);
        self.since = Instant::now();
        wanted
    }
}
