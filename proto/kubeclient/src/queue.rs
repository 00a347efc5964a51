//! The work queue of a controller: coalescing, ordered, with delays and retries.
//!
//! Invariants (as of client-go's `util/workqueue`):
//! - A key waits at most once, however often it's added.
//! - A key is never worked on twice at once: added while in work, it waits until that work is done.
//! - Work that is given up midway comes again: no key is forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::Random;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A queue of keys. Cheap to clone; any number of workers may take from it.
pub struct Queue<T: Ord + Clone>(Arc<Shared<T>>);

struct Shared<T: Ord + Clone> {
    state: Mutex<State<T>>,
    notify: Notify,
    initial: Duration,
    max: Duration,
    random: Random,
}

struct State<T> {
    ready: VecDeque<T>,
    /// Everything that waits for work, in `ready` or for the end of the work on the same key.
    dirty: BTreeSet<T>,
    processing: BTreeSet<T>,
    /// When each delayed key becomes due, in both directions.
    due: BTreeSet<(Instant, T)>,
    due_at: BTreeMap<T, Instant>,
    failures: BTreeMap<T, u32>,
    closed: bool,
}

impl<T: Ord + Clone> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Ord + Clone> Queue<T> {
    /// Retries of a key wait `initial` first, then twice as long each time up to `max`.
    pub fn new(initial: Duration, max: Duration, random: Random) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                dirty: BTreeSet::new(),
                processing: BTreeSet::new(),
                due: BTreeSet::new(),
                due_at: BTreeMap::new(),
                failures: BTreeMap::new(),
                closed: false,
            }),
            notify: Notify::new(),
            initial,
            max,
            random,
        }))
    }

    /// Asks for work on `key`.
    pub fn add(&self, key: T) {
        self.state().add(key);
        self.0.notify.notify_one();
    }

    /// Asks for work on `key` in `delay`, or at the earlier time already asked for.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + delay;
        let mut state = self.state();
        if state.closed {
            return;
        }
        match state.due_at.get(&key).copied() {
            Some(earlier) if earlier <= at => return,
            Some(later) => {
                state.due.remove(&(later, key.clone()));
            }
            None => {}
        }
        state.due_at.insert(key.clone(), at);
        state.due.insert((at, key));
        drop(state);
        self.0.notify.notify_one();
    }

    /// Asks for work on `key` after a failure: later each time, until [`Queue::forget`].
    pub fn retry(&self, key: T) {
        let failures = {
            let mut state = self.state();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures += 1;
            *failures
        };
        let factor = 1_u32 << (failures - 1).min(20);
        let delay = self.0.initial.saturating_mul(factor).min(self.0.max);
        self.add_after(key, self.0.random.jitter(delay, 0.2));
    }

    /// Failures of `key` since it was last forgotten.
    pub fn failures(&self, key: &T) -> u32 {
        self.state().failures.get(key).copied().unwrap_or(0)
    }

    /// Forgets the failures of `key`, after a success.
    pub fn forget(&self, key: &T) {
        self.state().failures.remove(key);
    }

    /// Keys that wait, not counting delayed ones.
    pub fn len(&self) -> usize {
        self.state().ready.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the queue: waiting keys are still handed out, nothing more is taken in.
    pub fn close(&self) {
        self.state().closed = true;
        self.0.notify.notify_waiters();
        self.0.notify.notify_one();
    }

    /// Drops everything that waits, delayed or not, and all memory of failures.
    pub fn clear(&self) {
        let mut state = self.state();
        state.ready.clear();
        state.dirty.clear();
        state.due.clear();
        state.due_at.clear();
        state.failures.clear();
    }

    /// The next key; it counts as in work until the guard is dropped. `None` after [`Queue::close`].
    /// Safe to cancel.
    pub async fn next(&self) -> Option<Processing<T>> {
        loop {
            let notified = self.0.notify.notified();
            let next_due = {
                let mut state = self.state();
                state.promote(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.processing.insert(key.clone());
                    if !state.ready.is_empty() || !state.due.is_empty() {
                        // One notification may stand for several keys, and this worker may have been the one
                        // that waited for the next delay: pass it on to the next worker.
                        self.0.notify.notify_one();
                    }
                    return Some(Processing {
                        key,
                        queue: self.clone(),
                        ended: false,
                    });
                }
                if state.closed {
                    self.0.notify.notify_one();
                    return None;
                }
                state.due.first().map(|(at, _)| *at)
            };
            match next_due {
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = notified => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => notified.await,
            }
        }
    }

    fn done(&self, key: &T) {
        let mut state = self.state();
        state.processing.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.0.notify.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Ord + Clone> State<T> {
    fn add(&mut self, key: T) {
        if self.closed || !self.dirty.insert(key.clone()) {
            return;
        }
        if !self.processing.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn promote(&mut self, now: Instant) {
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.due.pop_first() {
                self.due_at.remove(&key);
                self.add(key);
            }
        }
    }
}

/// A key in work. When it's dropped without a word on how the work ended, the work was given up midway, by a leader that
/// lost its lease for instance: the key waits again at once, for whoever takes from the queue next.
pub struct Processing<T: Ord + Clone> {
    key: T,
    queue: Queue<T>,
    ended: bool,
}

impl<T: Ord + Clone> Processing<T> {
    pub fn key(&self) -> &T {
        &self.key
    }

    /// Ends the work with success: failures are forgotten.
    pub fn succeeded(mut self) {
        self.ended = true;
        self.queue.forget(&self.key);
    }

    /// Ends the work with a failure: the key comes again, later each time.
    pub fn failed(mut self) {
        self.ended = true;
        self.queue.retry(self.key.clone());
    }

    /// Ends the work with success and asks for the key again in `delay`.
    pub fn again_after(mut self, delay: Duration) {
        self.ended = true;
        self.queue.forget(&self.key);
        self.queue.add_after(self.key.clone(), delay);
    }
}

impl<T: Ord + Clone> Drop for Processing<T> {
    fn drop(&mut self) {
        if !self.ended {
            self.queue.state().add(self.key.clone());
        }
        self.queue.done(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use std::time::Duration;
    use support::Random;

    fn queue() -> Queue<&'static str> {
        Queue::new(
            Duration::from_millis(10),
            Duration::from_millis(100),
            Random::seeded(1),
        )
    }

    #[tokio::test]
    async fn a_key_added_twice_comes_once_and_in_order() {
        let queue = queue();
        for key in ["b", "a", "b"] {
            queue.add(key);
        }
        let first = queue.next().await.expect("a key");
        let second = queue.next().await.expect("a key");
        assert_eq!((*first.key(), *second.key()), ("b", "a"));
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn a_key_added_while_in_work_comes_again_after_it() {
        let queue = queue();
        queue.add("a");
        let work = queue.next().await.expect("a key");
        queue.add("a");
        assert!(
            tokio::time::timeout(Duration::from_millis(20), queue.next())
                .await
                .is_err(),
            "handed out twice at once"
        );
        work.succeeded();
        assert_eq!(*queue.next().await.expect("a key").key(), "a");
    }

    /// Found with real processes: a garbage collector whose leadership was lost while it worked never looked at those
    /// objects again.
    #[tokio::test]
    async fn work_that_is_cancelled_comes_again() {
        let queue = queue();
        queue.add("a");
        drop(queue.next().await.expect("a key"));
        let again = tokio::time::timeout(Duration::from_secs(1), queue.next()).await;
        again.expect("soon").expect("a key").succeeded();
        assert!(
            tokio::time::timeout(Duration::from_millis(20), queue.next())
                .await
                .is_err(),
            "done work came again"
        );
    }

    #[tokio::test]
    async fn failures_delay_a_key_longer_each_time_and_success_forgets_them() {
        let queue = queue();
        queue.add("a");
        let mut waits = Vec::new();
        for _ in 0..3 {
            let work = queue.next().await.expect("a key");
            work.failed();
            waits.push(
                queue
                    .state()
                    .due
                    .first()
                    .map(|(at, _)| *at - tokio::time::Instant::now()),
            );
        }
        let work = queue.next().await.expect("a key");
        assert!(waits[0] < waits[1] && waits[1] < waits[2], "{waits:?}");
        assert_eq!(queue.failures(&"a"), 3);
        work.succeeded();
        assert_eq!(queue.failures(&"a"), 0);
    }

    #[tokio::test]
    async fn the_earlier_of_two_delays_counts_and_a_closed_queue_ends() {
        let queue = queue();
        queue.add_after("a", Duration::from_secs(60));
        queue.add_after("a", Duration::from_millis(10));
        tokio::time::timeout(Duration::from_secs(30), queue.next())
            .await
            .expect("the earlier time")
            .expect("a key")
            .succeeded();
        queue.close();
        assert!(queue.next().await.is_none());
    }
}
