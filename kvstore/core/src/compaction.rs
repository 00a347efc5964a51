//! Compaction: the logical bound at once, the superseded versions in small steps behind it.
//!
//! Every event kills the versions of its key before it. So a step needs to visit only the events between
//! the last compaction and this one, not the whole history: its cost follows the writes, not the data.
//! A tombstone at exactly the compacted revision stays until the next time (a watcher may start there).

use crate::encoding::{self, Kind, Position};
use crate::meta::{self, Meta};
use crate::overlay::Overlay;
use crate::read::{Batch, Cursor, Read, ReadError, Space};
use crate::refusal::{Error, Refusal};
use crate::usage;

/// Moves the bound: reads before `revision` are refused from now on.
pub fn compact(state: &mut Overlay<'_>, revision: i64) -> Result<(), Error> {
    let meta = Meta::read(state)?;
    if revision <= meta.compacted {
        return Err(Refusal::Compacted.into());
    }
    if revision > meta.revision {
        return Err(Refusal::FutureRevision.into());
    }
    meta::set_compacted(state, revision);
    Ok(())
}

/// What one step deletes.
#[derive(Debug, Clone, PartialEq)]
pub struct CompactionStep {
    pub batch: Batch,
    /// Up to which revision superseded versions are gone after this step.
    pub reached: i64,
    /// Whether there is nothing left to do up to the bound of this view.
    pub finished: bool,
    /// What this and all earlier steps have freed, see [`crate::StoredBytes`].
    pub bytes_removed: u64,
}

/// Plans the next step: at most `max_events` events are visited (more, if one revision has more). Each
/// member compacts by itself; the deletions are not replicated.
///
/// # Errors
/// When the store can't be read.
pub fn compaction_step(view: &dyn Read, max_events: usize) -> Result<CompactionStep, ReadError> {
    let bound = Meta::read(view)?.compacted;
    let done = meta::compaction_done(view)?;
    let bytes_removed = meta::bytes_removed(view)?;
    if done >= bound {
        return Ok(CompactionStep {
            batch: Batch::default(),
            reached: done,
            finished: true,
            bytes_removed,
        });
    }
    let mut removal = Removal {
        view,
        versions: view.cursor(Space::Keys),
        done,
        batch: Batch::default(),
        bytes: bytes_removed,
    };
    let mut visited = 0;
    let mut cursor = view.cursor(Space::History);
    // `done` itself again, for the tombstones left there.
    cursor.seek(&encoding::history_key(Position {
        revision: done,
        sub: 0,
    }))?;
    let mut last = done;
    while let Some((key, value)) = cursor.entry() {
        let position = encoding::parse_history_key(key)?;
        if position.revision > bound {
            break;
        }
        // Whole revisions only, so that what is done is exact.
        if visited >= max_events && position.revision > last {
            return Ok(removal.finish(last, false));
        }
        last = position.revision;
        // Those of `done` don't count: a step that only went over them again would get nowhere.
        visited += usize::from(position.revision > done);
        let (kind, kv) = encoding::parse_history_value(value)?;
        if kind == Kind::Tombstone && position.revision < bound {
            removal.tombstone(position, &kv.key, value);
        }
        // A put that created its key has nothing before it but a tombstone, which sees to itself.
        if kind == Kind::Tombstone || kv.create_revision < position.revision {
            removal.versions_before(&kv.key, position.revision)?;
        }
        cursor.advance()?;
    }
    Ok(removal.finish(bound, true))
}

/// The deletions of one step.
struct Removal<'a> {
    view: &'a dyn Read,
    /// One cursor for all keys: making one costs more than moving it.
    versions: Box<dyn Cursor + 'a>,
    /// Where this step began.
    done: i64,
    batch: Batch,
    bytes: u64,
}

impl Removal<'_> {
    fn tombstone(&mut self, position: Position, key: &[u8], value: &[u8]) {
        let version = encoding::version_key(key, position.revision);
        self.bytes += usage::record_bytes(value, &version);
        self.batch.delete(Space::History, encoding::history_key(position));
        self.batch.delete(Space::Keys, version);
    }

    /// Deletes the versions of `key` before `revision` that are still there.
    fn versions_before(&mut self, key: &[u8], revision: i64) -> Result<(), ReadError> {
        let (_, end) = encoding::key_versions(key);
        self.versions.seek(&encoding::version_key(key, revision - 1))?;
        while let Some((found, value)) = self.versions.entry() {
            if found >= end.as_slice() {
                break;
            }
            let (_, old) = encoding::parse_version_key(found)?;
            let (_, sub) = encoding::parse_version_value(value)?;
            let at = encoding::history_key(Position { revision: old, sub });
            if let Some(record) = self.view.get(Space::History, &at)? {
                self.bytes += usage::record_bytes(&record, found);
            }
            self.batch.delete(Space::Keys, found.to_vec());
            self.batch.delete(Space::History, at);
            // What this step has visited has seen to its own predecessors: a key that is written over and
            // over costs one deletion a version, not one for each pair.
            if old >= self.done {
                break;
            }
            self.versions.advance()?;
        }
        Ok(())
    }

    fn finish(mut self, reached: i64, finished: bool) -> CompactionStep {
        meta::write_compaction_done(&mut self.batch, reached, self.bytes);
        CompactionStep {
            batch: self.batch,
            reached,
            finished,
            bytes_removed: self.bytes,
        }
    }
}
