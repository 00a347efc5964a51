//! The objects of one resource and the recent changes to them.

use super::{Change, Entry, Event, Filter};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

/// Changes waiting for one watcher. At a thousand changes a second it is a second of silence; then the watcher is
/// dropped, and its client starts again from what it saw last.
const WATCHER_QUEUE: usize = 1024;
/// Changes kept for watches that start in the past: at least, at most, and for how long (upstream's numbers
/// but the first: cacher/watch_cache.go).
const RING_MIN: usize = 1000;
const RING_MAX: usize = 102_400;
const RING_AGE: Duration = Duration::from_secs(75);
/// While somebody waits for a revision the store is asked this often how far the watch is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CacheError {
    /// The revision is older than the kept history.
    #[error("too old resource version: {wanted} ({oldest})")]
    TooOld { wanted: i64, oldest: i64 },
    #[error("the cache didn't reach revision {wanted} in time, it is at {current}")]
    Behind { wanted: i64, current: i64 },
    #[error("the cache isn't filled yet")]
    NotReady,
}

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With everything that is there now.
    Snapshot,
    /// With the first change after this revision.
    After(i64),
}

/// A watch's beginning and the queue of what follows.
pub(crate) struct Subscription {
    pub initial: Vec<(Change, Arc<Event>)>,
    /// Everything up to here is in `initial`.
    pub revision: i64,
    /// Closed when the watcher was too slow or the cache lost its history.
    pub queue: mpsc::Receiver<(Change, Arc<Event>)>,
}

pub(crate) struct WatchCache {
    /// All store keys of the resource begin with this.
    pub(crate) prefix: String,
    state: RwLock<State>,
    revision: watch::Sender<i64>,
    pub(super) progress_wanted: Notify,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Arc<Entry>>,
    ring: VecDeque<(Instant, Arc<Event>)>,
    /// All changes after this revision are in the ring.
    history_after: i64,
    revision: i64,
    watchers: Vec<Watcher>,
}

struct Watcher {
    filter: Arc<Filter>,
    queue: mpsc::Sender<(Change, Arc<Event>)>,
}

impl WatchCache {
    pub(super) fn new(prefix: String) -> Self {
        Self {
            prefix,
            state: RwLock::default(),
            revision: watch::Sender::new(0),
            progress_wanted: Notify::new(),
        }
    }

    /// Everything up to this revision is here; 0 before the first fill.
    pub(crate) fn revision(&self) -> i64 {
        *self.revision.borrow()
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.read(|state| state.objects.get(key).cloned())
    }

    pub(crate) fn len(&self) -> usize {
        self.read(|state| state.objects.len())
    }

    /// The entries that match, in key order, and the revision they are of.
    pub(crate) fn list(&self, filter: &Filter) -> (Vec<Arc<Entry>>, i64) {
        self.read(|state| {
            let matching = state
                .range(filter)
                .filter(|entry| filter.matches(entry))
                .cloned()
                .collect();
            (matching, state.revision)
        })
    }

    /// Begins a watch; nothing is missed between `initial` and the queue.
    pub(crate) fn subscribe(&self, start: Start, filter: Filter) -> Result<Subscription, CacheError> {
        let filter = Arc::new(filter);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let initial = match start {
            Start::Snapshot => state
                .range(&filter)
                .filter(|entry| filter.matches(entry))
                .map(|entry| (Change::Added, Arc::new(Event::initial(Arc::clone(entry)))))
                .collect(),
            Start::After(revision) => {
                if revision < state.history_after {
                    return Err(CacheError::TooOld {
                        wanted: revision,
                        oldest: state.history_after,
                    });
                }
                let first = state
                    .ring
                    .partition_point(|(_, event)| event.revision <= revision);
                state
                    .ring
                    .range(first..)
                    .filter_map(|(_, event)| Some((event.change_for(&filter)?, Arc::clone(event))))
                    .collect()
            }
        };
        let (sender, queue) = mpsc::channel(WATCHER_QUEUE);
        state.watchers.push(Watcher {
            filter,
            queue: sender,
        });
        Ok(Subscription {
            initial,
            revision: state.revision,
            queue,
        })
    }

    /// Waits for the first fill.
    pub(crate) async fn ready(&self, within: Duration) -> Result<(), CacheError> {
        self.wait_until(1, within).await.map_err(|_| CacheError::NotReady)
    }

    /// Waits until everything up to `wanted` is here.
    pub(crate) async fn wait_until(&self, wanted: i64, within: Duration) -> Result<(), CacheError> {
        let deadline = Instant::now() + within;
        let mut revision = self.revision.subscribe();
        loop {
            let current = *revision.borrow_and_update();
            if current >= wanted {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(CacheError::Behind { wanted, current });
            }
            self.progress_wanted.notify_one();
            let pause = Instant::now() + PROGRESS_INTERVAL;
            tokio::select! {
                biased;
                // The sender lives as long as the cache.
                _ = revision.changed() => {}
                () = tokio::time::sleep_until(pause.min(deadline)) => {}
            }
        }
    }

    /// Replaces everything after a gap in the history: watchers are let go, their clients start over.
    pub(super) fn fill(&self, objects: BTreeMap<String, Arc<Entry>>, revision: i64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            objects,
            history_after: revision,
            revision,
            ..State::default()
        };
        drop(state);
        self.revision.send_replace(revision);
    }

    /// Applies changes in order and hands them to the watchers. `entry` `None` deletes.
    pub(super) fn apply(&self, changes: Vec<(String, i64, Option<Entry>)>, revision: i64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for (key, changed_at, entry) in changes {
            let current = entry.map(Arc::new);
            let previous = match &current {
                Some(entry) => state.objects.insert(key, Arc::clone(entry)),
                None => state.objects.remove(&key),
            };
            if current.is_none() && previous.is_none() {
                continue;
            }
            let event = Arc::new(Event::new(changed_at, current, previous));
            state.remember(now, Arc::clone(&event));
            state
                .watchers
                .retain(|watcher| match event.change_for(&watcher.filter) {
                    // Full: too slow. Closed: gone. Either way it is no longer a watcher.
                    Some(change) => watcher.queue.try_send((change, Arc::clone(&event))).is_ok(),
                    None => !watcher.queue.is_closed(),
                });
        }
        state.revision = state.revision.max(revision);
        let revision = state.revision;
        drop(state);
        // Only now: who sees the revision finds its events in the queues.
        self.revision.send_replace(revision);
    }

    pub(super) fn progress(&self, revision: i64) {
        self.apply(Vec::new(), revision);
    }

    /// Ends all watches, at shutdown.
    pub(super) fn close(&self) {
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .watchers
            .clear();
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// The part of the key space that `filter` can match.
    fn range(&self, filter: &Filter) -> impl Iterator<Item = &Arc<Entry>> {
        let (lower, upper) = match (&filter.namespace, &filter.name) {
            (None, _) => (Bound::Unbounded, Bound::Unbounded),
            (Some(namespace), Some(name)) => {
                let key = format!("{namespace}/{name}");
                (Bound::Included(key.clone()), Bound::Included(key))
            }
            // '0' follows '/'.
            (Some(namespace), None) => (
                Bound::Included(format!("{namespace}/")),
                Bound::Excluded(format!("{namespace}0")),
            ),
        };
        self.objects
            .range::<String, _>((lower, upper))
            .map(|(_, entry)| entry)
    }

    fn remember(&mut self, now: Instant, event: Arc<Event>) {
        self.ring.push_back((now, event));
        while self.ring.len() > RING_MIN {
            let Some((at, oldest)) = self.ring.front() else {
                break;
            };
            if self.ring.len() <= RING_MAX && now.duration_since(*at) < RING_AGE {
                break;
            }
            let dropped = oldest.revision;
            self.ring.pop_front();
            // A revision is dropped whole, or a watch could start in its middle.
            while self
                .ring
                .front()
                .is_some_and(|(_, event)| event.revision == dropped)
            {
                self.ring.pop_front();
            }
            self.history_after = dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CacheError, Start, WATCHER_QUEUE, WatchCache};
    use crate::cache::{Change, Entry, FieldsOf, Filter, stored_bytes};
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    fn entry(name: &str, tier: &str, revision: i64) -> Entry {
        let fields: FieldsOf = Arc::new(|_| BTreeMap::new());
        let object = json!({"kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": name, "namespace": "ns", "labels": {"tier": tier}}});
        Entry::decode(format!("ns/{name}"), &stored_bytes(&object), revision, &fields).expect("an object")
    }

    fn put(cache: &WatchCache, name: &str, tier: &str, revision: i64) {
        let change = (format!("ns/{name}"), revision, Some(entry(name, tier, revision)));
        cache.apply(vec![change], revision);
    }

    fn front() -> Filter {
        Filter {
            labels: Some(Arc::new(|labels| {
                labels.get("tier").is_some_and(|tier| tier == "front")
            })),
            ..Filter::default()
        }
    }

    fn filled() -> WatchCache {
        let cache = WatchCache::new("/registry/configmaps/".to_owned());
        cache.fill(BTreeMap::new(), 10);
        cache
    }

    #[tokio::test]
    async fn objects_enter_and_leave_a_selection() {
        let cache = filled();
        put(&cache, "a", "front", 11);
        let mut watch = cache.subscribe(Start::Snapshot, front()).expect("a watch");
        assert_eq!(watch.initial.len(), 1);
        put(&cache, "a", "back", 12);
        put(&cache, "b", "back", 13);
        put(&cache, "b", "front", 14);
        put(&cache, "b", "front", 15);
        cache.apply(vec![("ns/b".to_owned(), 16, None)], 16);
        let mut seen = Vec::new();
        while let Ok((change, event)) = watch.queue.try_recv() {
            seen.push((change, event.revision));
        }
        let expected = [
            (Change::Deleted, 12),
            (Change::Added, 14),
            (Change::Modified, 15),
            (Change::Deleted, 16),
        ];
        assert_eq!(seen, expected);
        let resumed = cache.subscribe(Start::After(13), front()).expect("a watch");
        assert_eq!(resumed.initial.len(), 3);
        let lost = cache.subscribe(Start::After(9), front());
        assert!(matches!(
            lost.map(|_| ()),
            Err(CacheError::TooOld {
                wanted: 9,
                oldest: 10
            })
        ));
    }

    #[tokio::test]
    async fn a_watcher_that_does_not_keep_up_is_let_go_and_the_others_stay() {
        let cache = filled();
        let mut slow = cache
            .subscribe(Start::Snapshot, Filter::default())
            .expect("a watch");
        let mut quick = cache
            .subscribe(Start::Snapshot, Filter::default())
            .expect("a watch");
        let count = i64::try_from(WATCHER_QUEUE).expect("small") + 10;
        for revision in 11..11 + count {
            put(&cache, "a", "front", revision);
            assert_eq!(quick.queue.try_recv().expect("an event").1.revision, revision);
        }
        let mut received = 0;
        while slow.queue.recv().await.is_some() {
            received += 1;
        }
        assert_eq!(received, WATCHER_QUEUE);
    }

    #[tokio::test]
    async fn a_reader_waits_for_its_revision_and_not_for_ever() {
        let cache = Arc::new(filled());
        let waiting = Arc::clone(&cache);
        let waiter = tokio::spawn(async move { waiting.wait_until(12, Duration::from_secs(3)).await });
        tokio::task::yield_now().await;
        cache.progress(12);
        assert!(waiter.await.expect("no panic").is_ok());
        let late = cache.wait_until(99, Duration::from_millis(20)).await;
        assert!(matches!(
            late,
            Err(CacheError::Behind {
                wanted: 99,
                current: 12
            })
        ));
    }
}
