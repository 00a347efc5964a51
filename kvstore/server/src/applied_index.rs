//! How far the log is applied, and who waits for it to get further.
//!
//! A waiter is woken once, when its own index is reached: a thousand of them cost no more than their own
//! wake-ups, where a broadcast would wake all of them for every batch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Waiters by the index that they wait for, then in the order of their coming.
type Waiters = BTreeMap<(u64, u64), oneshot::Sender<()>>;

/// The index of the last applied entry.
pub struct AppliedIndex {
    index: AtomicU64,
    waiters: Mutex<(u64, Waiters)>,
}

impl AppliedIndex {
    pub fn new(index: u64) -> Self {
        Self {
            index: AtomicU64::new(index),
            waiters: Mutex::default(),
        }
    }

    pub fn get(&self) -> u64 {
        self.index.load(Ordering::Acquire)
    }

    /// Everything up to `index` is applied; it may go back when the state is replaced.
    pub fn advance(&self, index: u64) {
        let mut waiters = self.lock();
        // Under the lock: nobody who has found it too low is missed.
        self.index.store(index, Ordering::Release);
        let later = waiters.1.split_off(&(index + 1, 0));
        let reached = std::mem::replace(&mut waiters.1, later);
        drop(waiters);
        for waiter in reached.into_values() {
            // One that has gone away needs no wake-up.
            let _ = waiter.send(());
        }
    }

    /// Returns when `index` is applied.
    pub async fn wait(&self, index: u64) {
        if self.get() >= index {
            return;
        }
        let woken = {
            let mut waiters = self.lock();
            if self.get() >= index {
                return;
            }
            let (waiter, woken) = oneshot::channel();
            let number = waiters.0;
            waiters.0 += 1;
            waiters.1.insert((index, number), waiter);
            woken
        };
        // The sender lives in here, and so does the future: it can't be dropped unsent.
        let _ = woken.await;
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Waiters)> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
