//! What is held against the history once a world has ended; one promise a file, each with its source.

mod leases;
mod linearizability;
mod watches;

use crate::chronicle::Chronicle;
use crate::history::{Operation, WatchSession};
use crate::outcome::Violation;

/// Judges a whole history; gives its last revision.
///
/// # Errors
/// The first violation found.
pub fn judge(operations: &[Operation], sessions: &[WatchSession]) -> Result<i64, Violation> {
    let chronicle = Chronicle::of(sessions)?;
    let makers = linearizability::check(operations, &chronicle)?;
    leases::check(operations, &chronicle, &makers)?;
    watches::check(operations, sessions, &chronicle)?;
    Ok(chronicle.last())
}
