//! Looks into a backup.

use kvstore_backup::{
    BackupStatus, ChecksumError, Database, FormatError, HashHistoryError, HistoryHash, StatusError,
    hash_history, status, verify,
};
use std::fs::File;
use std::path::Path;

/// Why a backup can't be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("opening {path}: {source}")]
    Open {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("snapshot file integrity check failed: {0}")]
    Checksum(#[from] ChecksumError),
    #[error("snapshot file integrity check failed: {0}")]
    Format(#[from] FormatError),
    #[error("snapshot file integrity check failed: {0}")]
    Status(#[from] StatusError),
    #[error(transparent)]
    Hash(#[from] HashHistoryError),
}

/// What a backup holds. A checksum is compared when there is one.
///
/// # Errors
/// When the file is damaged or none.
pub fn snapshot_status(path: &Path) -> Result<BackupStatus, InspectError> {
    Ok(status(&open(path)?)?)
}

/// The hash of the history up to `revision`; 0 is the newest.
///
/// # Errors
/// When the file is damaged or none, or the revision isn't in it.
pub fn history_hash(path: &Path, revision: i64) -> Result<HistoryHash, InspectError> {
    Ok(hash_history(&open(path)?, revision)?)
}

fn open(path: &Path) -> Result<Database<File>, InspectError> {
    let file = File::open(path).map_err(|source| InspectError::Open {
        path: path.display().to_string(),
        source,
    })?;
    // A copy from a data folder has none.
    verify(&file)?;
    Ok(Database::open(file)?)
}
