//! A hash of the kept revisions, equal on members that hold the same data.

use crate::encoding::{self, Kind};
use crate::meta::Meta;
use crate::read::{Read, Space};
use crate::refusal::{Error, Refusal};

/// CRC-32C of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crc {
    pub hash: u32,
    pub compacted: i64,
    /// Up to which revision was hashed.
    pub revision: i64,
}

/// Hashes every event up to `revision` (0: the current one) that compaction keeps, whether or not it has
/// removed the others yet.
///
/// # Errors
/// [`Refusal::Compacted`], [`Refusal::FutureRevision`]; or when the store can't be read.
pub fn hash_kv(view: &dyn Read, revision: i64) -> Result<Crc, Error> {
    let meta = Meta::read(view)?;
    let revision = if revision == 0 { meta.revision } else { revision };
    if revision < meta.compacted {
        return Err(Refusal::Compacted.into());
    }
    if revision > meta.revision {
        return Err(Refusal::FutureRevision.into());
    }
    let mut hash = 0;
    let mut cursor = view.cursor(Space::History);
    cursor.seek(&[])?;
    while let Some((key, value)) = cursor.entry() {
        let position = encoding::parse_history_key(key)?;
        if position.revision > revision {
            break;
        }
        let (kind, kv) = encoding::parse_history_value(value)?;
        let kept = position.revision >= meta.compacted
            || (kind == Kind::Put && !superseded(view, &kv.key, position.revision, meta.compacted)?);
        if kept {
            hash = crc32c::crc32c_append(hash, key);
            hash = crc32c::crc32c_append(hash, value);
        }
        cursor.advance()?;
    }
    Ok(Crc {
        hash,
        compacted: meta.compacted,
        revision,
    })
}

/// Whether `key` has a version after `revision`, up to `bound`.
fn superseded(view: &dyn Read, key: &[u8], revision: i64, bound: i64) -> Result<bool, Error> {
    let mut cursor = view.cursor(Space::Keys);
    cursor.seek(&encoding::version_key(key, bound))?;
    match cursor.entry() {
        Some((found, _)) => Ok(encoding::parse_version_key(found)?.1 > revision
            && found < encoding::key_versions(key).1.as_slice()),
        None => Ok(false),
    }
}
