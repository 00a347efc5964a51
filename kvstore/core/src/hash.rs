//! Hashes of what a member holds, equal on members that hold the same.
//!
//! Both read everything there is, so they run in slices: after each the caller may pause, or give up. They
//! don't depend on how far a member has got with removing compacted versions.

use crate::encoding::{self, Kind, Position};
use crate::meta::{self, Meta};
use crate::read::{Cursor, Read, ReadError, Space};
use crate::refusal::{Error, Refusal};

/// What [`state_hash`] covers and how; hashes of different definitions are not comparable.
pub const STATE_HASH_DEFINITION: u32 = 1;

/// Bytes read between two pauses.
const SLICE_BYTES: usize = 1 << 20;

/// What the hash of the history begins with: the name of etcd's bucket of keys, so that no history is 0.
const HISTORY_NAME: &[u8] = b"key";

/// Called after each slice: `false` gives up.
pub type OnSlice<'a> = &'a mut dyn FnMut() -> bool;

/// CRC-32C of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crc {
    pub hash: u32,
    pub compacted: i64,
    /// Up to which revision was hashed.
    pub revision: i64,
    /// The newest revision at that time.
    pub current: i64,
}

/// Hashes every event up to `revision` (0: the current one) that a compaction at it would keep, so that the
/// hash is the same before it, during it and after it. etcd comes to that by remembering what it hashed while
/// it compacted (`server/storage/mvcc/hash.go`); the values differ from etcd's, whose records look different.
/// `None`: given up.
///
/// # Errors
/// [`Refusal::Compacted`], [`Refusal::FutureRevision`]; or when the store can't be read.
pub fn hash_kv(view: &dyn Read, revision: i64, on_slice: OnSlice<'_>) -> Result<Option<Crc>, Error> {
    let meta = Meta::read(view)?;
    let revision = if revision == 0 { meta.revision } else { revision };
    if revision < meta.compacted {
        return Err(Refusal::Compacted.into());
    }
    if revision > meta.revision {
        return Err(Refusal::FutureRevision.into());
    }
    let mut sum = Sum::new(on_slice);
    sum.add(HISTORY_NAME, &[]);
    let up_to = UpTo {
        revision,
        compacted: revision,
    };
    Ok(add_history(view, up_to, &mut sum)?.then_some(Crc {
        hash: sum.hash,
        compacted: meta.compacted,
        revision,
        current: meta.revision,
    }))
}

/// Hashes the whole replicated state: all kept versions in both orders, the live keys, leases, alarms,
/// users, members. Left out are what each member keeps for itself, and the counts, which follow from the
/// live keys. `None`: given up.
///
/// # Errors
/// When the store can't be read.
pub fn state_hash(view: &dyn Read, on_slice: OnSlice<'_>) -> Result<Option<u32>, ReadError> {
    let meta = Meta::read(view)?;
    let up_to = UpTo {
        revision: meta.revision,
        compacted: meta.compacted,
    };
    let mut sum = Sum::new(on_slice);
    for space in Space::STATE {
        let complete = match space {
            Space::History => add_history(view, up_to, &mut sum)?,
            Space::Keys => add_keys(view, &mut sum)?,
            Space::Counts => true,
            _ => add_space(view, space, &mut sum)?,
        };
        if !complete {
            return Ok(None);
        }
    }
    Ok(Some(sum.hash))
}

/// A hash that grows, record by record.
struct Sum<'a> {
    hash: u32,
    unpaused: usize,
    on_slice: OnSlice<'a>,
}

impl<'a> Sum<'a> {
    fn new(on_slice: OnSlice<'a>) -> Self {
        Self {
            hash: 0,
            unpaused: 0,
            on_slice,
        }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.hash = crc32c::crc32c_append(self.hash, key);
        self.hash = crc32c::crc32c_append(self.hash, value);
    }

    /// Counts a record as read, added or not; `false`: the caller gives up.
    fn visited(&mut self, key: &[u8], value: &[u8]) -> bool {
        // A record costs something however small it is.
        self.unpaused += 64 + key.len() + value.len();
        if self.unpaused < SLICE_BYTES {
            return true;
        }
        self.unpaused = 0;
        (self.on_slice)()
    }
}

fn add_space(view: &dyn Read, space: Space, sum: &mut Sum<'_>) -> Result<bool, ReadError> {
    let mut cursor = view.scan(space);
    cursor.seek(&[])?;
    while let Some((key, value)) = cursor.entry() {
        if space != Space::Meta || !meta::LOCAL_KEYS.contains(&key) {
            sum.add(key, value);
        }
        if !sum.visited(key, value) {
            return Ok(false);
        }
        cursor.advance()?;
    }
    Ok(true)
}

/// Which events are hashed.
#[derive(Clone, Copy)]
struct UpTo {
    /// Those up to this revision.
    revision: i64,
    /// And of them those that a compaction at this one keeps.
    compacted: i64,
}

fn add_history(view: &dyn Read, up_to: UpTo, sum: &mut Sum<'_>) -> Result<bool, ReadError> {
    let UpTo { revision, compacted } = up_to;
    // Once compaction is through, whatever is left is kept: no need to look.
    let clean = meta::compaction_done(view)? >= compacted;
    let mut versions = view.cursor(Space::Keys);
    let mut cursor = view.scan(Space::History);
    cursor.seek(&[])?;
    while let Some((key, value)) = cursor.entry() {
        let at = encoding::parse_history_key(key)?;
        if at.revision > revision {
            break;
        }
        if clean || is_kept(&mut *versions, at, value, compacted)? {
            sum.add(key, value);
        }
        if !sum.visited(key, value) {
            return Ok(false);
        }
        cursor.advance()?;
    }
    Ok(true)
}

/// Whether compaction keeps the event at `at`.
fn is_kept(versions: &mut dyn Cursor, at: Position, value: &[u8], compacted: i64) -> Result<bool, ReadError> {
    if at.revision >= compacted {
        return Ok(true);
    }
    let (kind, kv) = encoding::parse_history_value(value)?;
    if kind == Kind::Tombstone {
        return Ok(false);
    }
    // Superseded when its key has a later version up to the bound.
    versions.seek(&encoding::version_key(&kv.key, compacted))?;
    let Some((found, _)) = versions.entry() else {
        return Ok(true);
    };
    let later = encoding::parse_version_key(found)?.1 > at.revision;
    Ok(!later || found >= encoding::key_versions(&kv.key).1.as_slice())
}

/// The order by keys: of each, the versions from the bound on and the one before it, if that is a put.
fn add_keys(view: &dyn Read, sum: &mut Sum<'_>) -> Result<bool, ReadError> {
    let compacted = Meta::read(view)?.compacted;
    let mut cursor = view.scan(Space::Keys);
    cursor.seek(&[])?;
    // The key whose newest version before the bound has been seen.
    let mut settled: Option<Vec<u8>> = None;
    while let Some((entry, value)) = cursor.entry() {
        let (key, revision) = encoding::parse_version_key(entry)?;
        let kept = if revision > compacted {
            true
        } else if settled.as_ref() == Some(&key) {
            false
        } else {
            let (kind, _) = encoding::parse_version_value(value)?;
            settled = Some(key);
            kind == Kind::Put || revision == compacted
        };
        if kept {
            sum.add(entry, value);
        }
        if !sum.visited(entry, value) {
            return Ok(false);
        }
        cursor.advance()?;
    }
    Ok(true)
}
