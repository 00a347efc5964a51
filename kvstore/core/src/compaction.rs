//! Compaction: the logical bound at once, the superseded versions in small steps behind it.
//!
//! Every event kills the versions of its key before it. So a step needs to visit only the events between
//! the last compaction and this one, not the whole history: its cost follows the writes, not the data.
//! A tombstone at exactly the compacted revision stays until the next time (a watcher may start there).

use crate::encoding::{self, Kind, Position};
use crate::meta::{self, Meta};
use crate::overlay::Overlay;
use crate::read::{Batch, Read, ReadError, Space};
use crate::refusal::{Error, Refusal};

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
    /// Whether there is nothing left to do up to the bound of this view.
    pub finished: bool,
}

/// Plans the next step: at most `max_events` events are visited. Each member compacts by itself; the
/// deletions are not replicated.
///
/// # Errors
/// When the store can't be read.
pub fn compaction_step(view: &dyn Read, max_events: usize) -> Result<CompactionStep, ReadError> {
    let bound = Meta::read(view)?.compacted;
    let done = meta::compaction_done(view)?;
    let mut batch = Batch::default();
    if done >= bound {
        return Ok(CompactionStep {
            batch,
            finished: true,
        });
    }
    let mut visited = 0;
    let mut reached = bound;
    let mut finished = true;
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
        // Whole revisions only, so that `done` is exact.
        if visited >= max_events && position.revision > last {
            reached = last;
            finished = false;
            break;
        }
        last = position.revision;
        visited += 1;
        let (kind, kv) = encoding::parse_history_value(value)?;
        if kind == Kind::Tombstone && position.revision < bound {
            batch.delete(Space::History, encoding::history_key(position));
            batch.delete(Space::Keys, encoding::version_key(&kv.key, position.revision));
        }
        delete_before(view, &kv.key, position.revision, &mut batch)?;
        cursor.advance()?;
    }
    batch.put(
        Space::Meta,
        meta::COMPACTION_DONE_KEY,
        reached.to_be_bytes().to_vec(),
    );
    Ok(CompactionStep { batch, finished })
}

/// Deletes the versions of `key` before `revision` that are still there.
fn delete_before(view: &dyn Read, key: &[u8], revision: i64, batch: &mut Batch) -> Result<(), ReadError> {
    let (_, end) = encoding::key_versions(key);
    let mut cursor = view.cursor(Space::Keys);
    cursor.seek(&encoding::version_key(key, revision - 1))?;
    while let Some((found, value)) = cursor.entry() {
        if found >= end.as_slice() {
            break;
        }
        let (_, old) = encoding::parse_version_key(found)?;
        let (_, sub) = encoding::parse_version_value(value)?;
        batch.delete(Space::Keys, found.to_vec());
        batch.delete(
            Space::History,
            encoding::history_key(Position { revision: old, sub }),
        );
        cursor.advance()?;
    }
    Ok(())
}
