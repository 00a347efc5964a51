//! What can go wrong with a disk.

use kvstore_core::ReadError;

/// The disk failed, or holds what it should not. Nothing to retry: the member stops.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    #[error("opening {path}: {reason}")]
    Open { path: String, reason: String },
    #[error("{operation}: {reason}")]
    Io { operation: &'static str, reason: String },
    #[error("the store is closed after an earlier failure: {0}")]
    Poisoned(String),
    #[error("{what} has format {found}, this release reads format {expected}")]
    Format {
        what: &'static str,
        found: u32,
        expected: u32,
    },
    #[error("corrupt log record {index}: {reason}")]
    CorruptLog { index: u64, reason: String },
    #[error("a snapshot that can't be installed: {0}")]
    Snapshot(String),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<StorageError> for std::io::Error {
    fn from(error: StorageError) -> Self {
        Self::other(error)
    }
}
