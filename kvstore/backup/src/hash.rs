//! The hash of a backup's history, as etcd's `HashKV` and `etcdutl hashkv` give it (etcd
//! `server/storage/mvcc/hash.go`, release 3.6).

use crate::bolt::{Database, Source};
use crate::fingerprint::Fingerprint;
use crate::schema::{self, RevisionKey};
use crate::status::StatusError;
use prost::Message as _;
use proto::mvccpb::KeyValue;
use std::collections::BTreeMap;

/// Is shown a revision, its key and its value as they stand in the file.
type Visit<'a> = dyn FnMut(RevisionKey, &[u8], &[u8]) -> Result<(), StatusError> + 'a;

/// CRC-32C of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryHash {
    pub hash: u32,
    /// Up to which revision was hashed.
    pub revision: i64,
    /// -1 when nothing is compacted.
    pub compacted: i64,
}

/// Hashes the history up to `revision` (0: all of it). Memory grows by some forty bytes for each key.
///
/// # Errors
/// When the file is damaged, or `revision` isn't in it.
pub fn hash_history<S: Source>(
    database: &Database<S>,
    revision: i64,
) -> Result<HistoryHash, HashHistoryError> {
    let buckets = database.buckets()?;
    let mut compacted = -1;
    let mut history = None;
    for bucket in &buckets {
        if bucket.name == schema::KEY {
            history = Some(bucket);
        }
        if bucket.name != schema::META {
            continue;
        }
        let mut entries = database.entries(bucket);
        while let Some((key, value)) = entries.next()? {
            if [schema::FINISHED_COMPACTION, schema::SCHEDULED_COMPACTION].contains(&key) {
                let bound = RevisionKey::parse(value).ok_or_else(|| StatusError::Revision(value.to_vec()))?;
                compacted = compacted.max(bound.main);
            }
        }
    }
    let history = history.ok_or(HashHistoryError::NoHistory)?;
    let each = |visit: &mut Visit<'_>| {
        let mut entries = database.entries(history);
        while let Some((key, value)) = entries.next()? {
            let at = RevisionKey::parse(key).ok_or_else(|| StatusError::Revision(key.to_vec()))?;
            visit(at, key, value)?;
        }
        Ok::<(), StatusError>(())
    };
    // The newest version of each key up to the revision: of the compacted ones, only these count.
    let mut current = compacted.max(1);
    let mut kept = BTreeMap::new();
    each(&mut |at, _, value| {
        current = current.max(at.main);
        if revision > 0 && at.main > revision {
            return Ok(());
        }
        let kv = KeyValue::decode(value).map_err(|_| StatusError::Value(at.main))?;
        let print = Fingerprint::of(&kv.key);
        if at.tombstone {
            kept.remove(&print);
        } else {
            kept.insert(print, (at.main, at.sub));
        }
        Ok(())
    })?;
    let revision = match revision {
        0 => current,
        revision if revision < compacted => return Err(HashHistoryError::Compacted(revision, compacted)),
        revision if revision > current => return Err(HashHistoryError::Future(revision, current)),
        revision => revision,
    };
    let mut hash = crc32c::crc32c(schema::KEY);
    each(&mut |at, key, value| {
        let old = at.main <= compacted && !kept.is_empty();
        if at.main > revision || (at.tombstone && at.main == compacted) {
            return Ok(());
        }
        if old {
            let kv = KeyValue::decode(value).map_err(|_| StatusError::Value(at.main))?;
            if kept.get(&Fingerprint::of(&kv.key)) != Some(&(at.main, at.sub)) {
                return Ok(());
            }
        }
        hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, key), value);
        Ok(())
    })?;
    Ok(HistoryHash {
        hash,
        revision,
        compacted,
    })
}

/// Why a history can't be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashHistoryError {
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error("no bucket \"key\": not a backup of etcd's")]
    NoHistory,
    #[error("revision {0} is compacted: the oldest is {1}")]
    Compacted(i64, i64),
    #[error("revision {0} is in the future: the newest is {1}")]
    Future(i64, i64),
}

impl From<crate::bolt::FormatError> for HashHistoryError {
    fn from(error: crate::bolt::FormatError) -> Self {
        Self::Status(error.into())
    }
}
