//! What etcd keeps in which bucket (etcd `server/storage/schema`, `server/storage/mvcc/revision.go`).

use kvstore_core::LeaseRecord;
use prost::Message as _;

/// The buckets, in the order of their names.
pub const ALARM: &[u8] = b"alarm";
pub const AUTH: &[u8] = b"auth";
pub const AUTH_ROLES: &[u8] = b"authRoles";
pub const AUTH_USERS: &[u8] = b"authUsers";
pub const CLUSTER: &[u8] = b"cluster";
pub const KEY: &[u8] = b"key";
pub const LEASE: &[u8] = b"lease";
pub const MEMBERS: &[u8] = b"members";
pub const MEMBERS_REMOVED: &[u8] = b"members_removed";
pub const META: &[u8] = b"meta";

pub const AUTH_ENABLED: &[u8] = b"authEnabled";
pub const AUTH_REVISION: &[u8] = b"authRevision";
pub const CONF_STATE: &[u8] = b"confState";
pub const CONSISTENT_INDEX: &[u8] = b"consistent_index";
pub const FINISHED_COMPACTION: &[u8] = b"finishedCompactRev";
pub const SCHEDULED_COMPACTION: &[u8] = b"scheduledCompactRev";
pub const STORAGE_VERSION_KEY: &[u8] = b"storageVersion";
pub const TERM: &[u8] = b"term";

const REVISION_BYTES: usize = 17;
const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

/// A key of the bucket `key`: main revision (8 bytes, big endian), `_`, sub (8), and `t` for a tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RevisionKey {
    pub main: i64,
    pub sub: i64,
    pub tombstone: bool,
}

impl RevisionKey {
    /// A bound, as compactions are kept.
    pub const fn bound(main: i64) -> Self {
        Self {
            main,
            sub: 0,
            tombstone: false,
        }
    }

    pub fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(REVISION_BYTES + 1);
        out.extend_from_slice(&self.main.to_be_bytes());
        out.push(SEPARATOR);
        out.extend_from_slice(&self.sub.to_be_bytes());
        if self.tombstone {
            out.push(TOMBSTONE);
        }
        out
    }

    /// `None` when it is none.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (revision, mark) = key.split_at_checked(REVISION_BYTES)?;
        let tombstone = match mark {
            [] => false,
            [TOMBSTONE] => true,
            _ => return None,
        };
        let key = Self {
            main: i64::from_be_bytes(revision[..8].try_into().ok()?),
            sub: i64::from_be_bytes(revision[9..].try_into().ok()?),
            tombstone,
        };
        (revision[8] == SEPARATOR && key.main >= 0 && key.sub >= 0).then_some(key)
    }
}

/// etcd's `leasepb.Lease`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseMessage {
    #[prost(int64, tag = "1")]
    pub id: i64,
    #[prost(int64, tag = "2")]
    pub ttl: i64,
    /// Seconds left at the last checkpoint; 0: all of them.
    #[prost(int64, tag = "3")]
    pub remaining_ttl: i64,
}

impl LeaseMessage {
    pub fn encode_record(record: LeaseRecord) -> Vec<u8> {
        Self {
            id: record.id,
            ttl: record.ttl,
            remaining_ttl: 0,
        }
        .encode_to_vec()
    }
}
