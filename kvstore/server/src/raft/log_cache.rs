//! The newest entries of the log in memory: each is read again soon, once for every follower and once to be
//! applied.
//!
//! Invariant: what is in here is in the log, without gaps, up to the last entry; an entry leaves before it is
//! removed from the log.

use super::types::TypeConfig;
use openraft::EntryPayload;
use openraft::alias::EntryOf;
use std::collections::VecDeque;

/// Bytes of commands kept. A follower that is further behind reads from disk.
const MAX_BYTES: usize = 8 << 20;
/// Entries kept, however small.
const MAX_ENTRIES: usize = 16 * 1024;

/// Consecutive entries; the last is the log's last.
#[derive(Default)]
pub struct LogCache {
    entries: VecDeque<EntryOf<TypeConfig>>,
    bytes: usize,
}

impl LogCache {
    /// Takes in an entry that was appended to the log.
    pub fn push(&mut self, entry: EntryOf<TypeConfig>) {
        let follows = self
            .entries
            .back()
            .is_none_or(|last| last.log_id.index + 1 == entry.log_id.index);
        if !follows {
            self.clear();
        }
        self.bytes += size(&entry);
        self.entries.push_back(entry);
        while self.entries.len() > MAX_ENTRIES || (self.bytes > MAX_BYTES && self.entries.len() > 1) {
            if let Some(old) = self.entries.pop_front() {
                self.bytes -= size(&old);
            }
        }
    }

    /// The entries from `start` to before `end`, or to the last, up to about `max_bytes`, at least one; `None` when
    /// some of them may only be on disk.
    pub fn read(&self, start: u64, end: u64, max_bytes: usize) -> Option<Vec<EntryOf<TypeConfig>>> {
        let first = self.entries.front()?.log_id.index;
        let skipped = usize::try_from(start.checked_sub(first)?).ok()?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for entry in self.entries.iter().skip(skipped) {
            let size = size(entry);
            if entry.log_id.index >= end || (bytes > 0 && bytes + size > max_bytes) {
                break;
            }
            bytes += size;
            found.push(entry.clone());
        }
        Some(found)
    }

    /// Forgets everything after `index`, or everything.
    pub fn truncate_after(&mut self, index: Option<u64>) {
        while let Some(last) = self.entries.back()
            && index.is_none_or(|index| last.log_id.index > index)
        {
            self.bytes -= size(last);
            self.entries.pop_back();
        }
    }

    /// Forgets everything up to `index`.
    pub fn purge(&mut self, index: u64) {
        while let Some(first) = self.entries.front()
            && first.log_id.index <= index
        {
            self.bytes -= size(first);
            self.entries.pop_front();
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

/// What an entry counts for.
fn size(entry: &EntryOf<TypeConfig>) -> usize {
    let command = match &entry.payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    command + 64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{LogCache, MAX_BYTES};
    use crate::raft::types::{CommandBytes, TypeConfig};
    use openraft::EntryPayload;
    use openraft::alias::{EntryOf, LogIdOf};

    fn entry(index: u64, bytes: usize) -> EntryOf<TypeConfig> {
        EntryOf::<TypeConfig> {
            log_id: LogIdOf::<TypeConfig>::new_term_index(1, index),
            payload: EntryPayload::Normal(CommandBytes(vec![0; bytes].into())),
        }
    }

    fn indexes(found: Option<Vec<EntryOf<TypeConfig>>>) -> Option<Vec<u64>> {
        found.map(|entries| entries.iter().map(|entry| entry.log_id.index).collect())
    }

    #[test]
    fn the_newest_entries_are_read_from_memory_and_older_ones_are_not() {
        let mut cache = LogCache::default();
        for index in 5..10 {
            cache.push(entry(index, 100));
        }
        assert_eq!(indexes(cache.read(4, 6, usize::MAX)), None);
        assert_eq!(indexes(cache.read(6, 8, usize::MAX)), Some(vec![6, 7]));
        assert_eq!(indexes(cache.read(8, 99, usize::MAX)), Some(vec![8, 9]));
        assert_eq!(indexes(cache.read(6, 99, 1)), Some(vec![6]));
        cache.truncate_after(Some(7));
        cache.push(entry(8, 100));
        assert_eq!(indexes(cache.read(5, 99, usize::MAX)), Some(vec![5, 6, 7, 8]));
        cache.purge(6);
        assert_eq!(indexes(cache.read(6, 99, usize::MAX)), None);
        // A gap: what came before is not known to be in the log any more.
        cache.push(entry(20, 100));
        assert_eq!(indexes(cache.read(8, 99, usize::MAX)), None);
        assert_eq!(indexes(cache.read(20, 99, usize::MAX)), Some(vec![20]));
    }

    #[test]
    fn it_stays_within_its_bounds_but_keeps_the_last_entry() {
        let mut cache = LogCache::default();
        for index in 1..=20 {
            cache.push(entry(index, MAX_BYTES / 8));
        }
        assert!(cache.bytes <= MAX_BYTES);
        cache.push(entry(21, MAX_BYTES * 2));
        assert_eq!(indexes(cache.read(21, 99, usize::MAX)), Some(vec![21]));
        assert_eq!(indexes(cache.read(20, 99, usize::MAX)), None);
    }
}
