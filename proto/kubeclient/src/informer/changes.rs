//! What changed since a subscriber last looked.
//!
//! Invariants:
//! - A subscriber that falls behind loses intermediate states, never a change: what waits for it is a set of
//!   keys, each with the object as the subscriber last saw it, so it's bounded by the number of objects.
//! - `old` of a change is `new` of the change before it for the same key.

use super::store::{ObjectKey, Store};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// One object's difference from what the subscriber saw last.
///
/// `old` is `None` for a new object, `new` is `None` for a deleted one. An object deleted and made again in
/// between shows as both, with different UIDs.
#[derive(Debug)]
pub struct Change<K> {
    pub key: ObjectKey,
    pub old: Option<Arc<K>>,
    pub new: Option<Arc<K>>,
}

/// Receives the changes of a [`Store`], starting with every object it held when subscribed.
pub struct Changes<K> {
    store: Store<K>,
    pending: Arc<Pending<K>>,
}

impl<K> Changes<K> {
    pub(super) fn new(store: Store<K>, pending: Arc<Pending<K>>) -> Self {
        Self { store, pending }
    }

    /// The next change, in the order in which keys first changed. Safe to cancel.
    pub async fn recv(&mut self) -> Change<K> {
        loop {
            if let Some(change) = self.try_recv() {
                return change;
            }
            // A change since then has left a permit: waiting for it can't miss it.
            self.pending.notify.notified().await;
        }
    }

    /// Waits until there is a change, and leaves it there. Safe to cancel.
    pub async fn ready(&mut self) {
        while self.pending.dirty().order.is_empty() {
            self.pending.notify.notified().await;
        }
    }

    /// The next change, if there is one now.
    pub fn try_recv(&mut self) -> Option<Change<K>> {
        self.store.read(|objects| {
            let mut dirty = self.pending.dirty();
            while let Some(key) = dirty.order.pop_front() {
                let old = dirty.seen.remove(&key).flatten();
                let new = objects.get(&key).cloned();
                // Made and deleted between two looks: nothing to tell.
                if old.is_some() || new.is_some() {
                    return Some(Change { key, old, new });
                }
            }
            None
        })
    }
}

/// The keys that changed since the subscriber looked, shared with the store.
pub(super) struct Pending<K> {
    dirty: Mutex<Dirty<K>>,
    notify: Notify,
}

struct Dirty<K> {
    order: VecDeque<ObjectKey>,
    /// What the subscriber last saw under each dirty key.
    seen: BTreeMap<ObjectKey, Option<Arc<K>>>,
}

impl<K> Pending<K> {
    pub(super) fn new(existing: impl Iterator<Item = ObjectKey>) -> Self {
        let order: VecDeque<ObjectKey> = existing.collect();
        let seen = order.iter().map(|key| (key.clone(), None)).collect();
        Self {
            dirty: Mutex::new(Dirty { order, seen }),
            notify: Notify::new(),
        }
    }

    pub(super) fn changed(&self, key: &str, old: Option<&Arc<K>>) {
        let mut dirty = self.dirty();
        if !dirty.seen.contains_key(key) {
            dirty.order.push_back(key.to_owned());
            dirty.seen.insert(key.to_owned(), old.cloned());
        }
        drop(dirty);
        self.notify.notify_one();
    }

    fn dirty(&self) -> std::sync::MutexGuard<'_, Dirty<K>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
