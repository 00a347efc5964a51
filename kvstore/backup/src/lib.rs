//! Backups of the store in etcd's snapshot file format, so that etcd's tools read ours and we read theirs.
//!
//! A backup is a bbolt database with etcd's buckets, followed by the SHA-256 of it.
//!
//! Invariants:
//! - Memory doesn't grow with the data, neither when a file is written nor when one is read (except where
//!   it is said).
//! - No bytes make a reader panic or run forever: it gives the entries or an error.
//! - Bytes, views and batches in, the same out: no disk of its own, no clock, no async.

mod bolt;
mod checksum;
mod export;
mod fingerprint;
mod hash;
mod import;
mod schema;
mod status;

pub use bolt::{BoltWriter, Database, FormatError, Source, WriteError};
pub use checksum::{CHECKSUM_BYTES, Checked, ChecksumError, digest_of, verify};
pub use export::{ExportError, Origin, OriginMember, STORAGE_VERSION, export};
pub use hash::{HashHistoryError, HistoryHash, hash_history};
pub use import::{ImportError, Imported, RevisionBump, Target, import};
pub use status::{BackupStatus, StatusError, status};
