//! What a backup holds, as `etcdutl snapshot status` tells it (etcd `etcdutl/snapshot/v3_snapshot.go`).

use crate::bolt::{Database, FormatError, Source};
use crate::fingerprint::Fingerprint;
use crate::schema::{self, RevisionKey};
use prost::Message as _;
use proto::mvccpb::KeyValue;
use std::collections::BTreeSet;

/// Why a backup's status can't be told.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("cannot parse revision key: {0:?}")]
    Revision(Vec<u8>),
    #[error("cannot unmarshal value of revision {0}")]
    Value(i64),
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupStatus {
    /// CRC-32C of the names of all buckets, their keys and values.
    pub hash: u32,
    /// The newest revision with an event.
    pub revision: i64,
    /// How many keys exist at it.
    pub total_keys: u64,
    /// Bytes of the database.
    pub total_size: u64,
    /// The version of the storage; empty before etcd 3.6.
    pub version: String,
}

/// Reads the whole file. Memory grows by some twenty bytes for each key that exists.
///
/// # Errors
/// When the file is damaged.
pub fn status<S: Source>(database: &Database<S>) -> Result<BackupStatus, StatusError> {
    let mut found = BackupStatus {
        hash: 0,
        revision: 0,
        total_keys: 0,
        total_size: database.size(),
        version: String::new(),
    };
    let mut live = BTreeSet::new();
    for bucket in database.buckets()? {
        found.hash = crc32c::crc32c_append(found.hash, &bucket.name);
        let mut entries = database.entries(&bucket);
        while let Some((key, value)) = entries.next()? {
            found.hash = crc32c::crc32c_append(found.hash, key);
            found.hash = crc32c::crc32c_append(found.hash, value);
            if bucket.name == schema::META && key == schema::STORAGE_VERSION_KEY {
                found.version = String::from_utf8_lossy(value).into_owned();
            }
            if bucket.name != schema::KEY {
                continue;
            }
            let at = RevisionKey::parse(key).ok_or_else(|| StatusError::Revision(key.to_vec()))?;
            let kv = KeyValue::decode(value).map_err(|_| StatusError::Value(at.main))?;
            found.revision = at.main;
            let print = Fingerprint::of(&kv.key);
            if at.tombstone {
                live.remove(&print);
            } else {
                live.insert(print);
            }
        }
    }
    found.total_keys = live.len() as u64;
    Ok(found)
}
