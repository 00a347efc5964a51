//! Which watchers an event concerns.
//!
//! Nearly all watches are of one key or of a prefix. Prefixes are looked up by each length in use, so an
//! event costs a few map look-ups however many watchers there are; only other ranges are tried one by one.

use crate::key_range::KeyRange;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Watchers by what they watch. `T` identifies a watcher.
#[derive(Debug, Clone)]
pub struct WatchIndex<T> {
    keys: BTreeMap<Bytes, BTreeSet<T>>,
    /// By length, then by the prefix.
    prefixes: BTreeMap<usize, BTreeMap<Bytes, BTreeSet<T>>>,
    ranges: BTreeMap<T, KeyRange>,
}

impl<T: Ord + Clone> Default for WatchIndex<T> {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            ranges: BTreeMap::new(),
        }
    }
}

impl<T: Ord + Clone> WatchIndex<T> {
    pub fn insert(&mut self, range: &KeyRange, watcher: T) {
        if range.is_single() {
            self.keys.entry(range.start.clone()).or_default().insert(watcher);
        } else if let Some(prefix) = range.prefix() {
            self.prefixes
                .entry(prefix.len())
                .or_default()
                .entry(prefix)
                .or_default()
                .insert(watcher);
        } else {
            self.ranges.insert(watcher, range.clone());
        }
    }

    /// Takes out a watcher that was inserted with the same `range`.
    pub fn remove(&mut self, range: &KeyRange, watcher: &T) {
        if range.is_single() {
            forget(&mut self.keys, &range.start, watcher);
        } else if let Some(prefix) = range.prefix() {
            if let Some(same_length) = self.prefixes.get_mut(&prefix.len()) {
                forget(same_length, &prefix, watcher);
                if same_length.is_empty() {
                    self.prefixes.remove(&prefix.len());
                }
            }
        } else {
            self.ranges.remove(watcher);
        }
    }

    /// Calls `visit` with every watcher of `key`, each once.
    pub fn matching(&self, key: &[u8], mut visit: impl FnMut(&T)) {
        if let Some(watchers) = self.keys.get(key) {
            watchers.iter().for_each(&mut visit);
        }
        for (length, same_length) in self.prefixes.range(..=key.len()) {
            if let Some(watchers) = same_length.get(&key[..*length]) {
                watchers.iter().for_each(&mut visit);
            }
        }
        for (watcher, range) in &self.ranges {
            if range.contains(key) {
                visit(watcher);
            }
        }
    }
}

fn forget<T: Ord>(map: &mut BTreeMap<Bytes, BTreeSet<T>>, key: &Bytes, watcher: &T) {
    if let Some(watchers) = map.get_mut(key) {
        watchers.remove(watcher);
        if watchers.is_empty() {
            map.remove(key);
        }
    }
}
