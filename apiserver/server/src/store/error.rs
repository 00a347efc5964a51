//! What can go wrong between the API server and its store.

use tonic::{Code, Status};

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StoreError {
    /// The revision asked for is compacted away.
    #[error("the requested revision has been compacted")]
    Compacted,
    /// The revision asked for is not there yet.
    #[error("the requested revision is in the future")]
    Future,
    #[error("the value is too large for the store")]
    TooLarge,
    /// No member answered in time. A write may or may not have happened.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    #[error("the store refused: {0}")]
    Refused(String),
    /// A value can't be read: wrong key or damaged bytes.
    #[error("stored value of {key}: {reason}")]
    Corrupt { key: String, reason: String },
}

impl From<Status> for StoreError {
    fn from(status: Status) -> Self {
        let text = status.message();
        match status.code() {
            Code::OutOfRange if text.contains("compacted") => Self::Compacted,
            Code::OutOfRange if text.contains("future revision") => Self::Future,
            Code::InvalidArgument if text.contains("request is too large") => Self::TooLarge,
            _ if is_transient(&status) => Self::Unavailable(text.to_owned()),
            _ => Self::Refused(text.to_owned()),
        }
    }
}

/// Another member, or the same one a moment later, may well answer.
pub(super) fn is_transient(status: &Status) -> bool {
    matches!(
        status.code(),
        // Unknown and Internal are what broken connections come back as.
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded
    )
}
