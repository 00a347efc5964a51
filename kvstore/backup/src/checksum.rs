//! The SHA-256 at the end of a backup.

use crate::bolt::Source;
use sha2::{Digest as _, Sha256};
use std::io;

/// Bytes of the checksum that follows the database.
pub const CHECKSUM_BYTES: u64 = 32;
/// Databases are whole sectors long; that is how a checksum behind one is recognised (etcd `hasChecksum`).
const SECTOR: u64 = 512;
const READ_BYTES: usize = 1 << 20;

/// Why a file's checksum was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ChecksumError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the file has no checksum: it is cut short, or a copy of a data folder")]
    Missing,
    #[error("the checksum does not match: expected sha256 {expected}, got {found}")]
    Mismatch { expected: String, found: String },
}

/// A file whose checksum was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It is there and right.
    Good,
    /// There is none.
    Absent,
}

/// Compares the checksum at the end of `file`, if there is one, with its content.
///
/// # Errors
/// When the file can't be read, or its checksum is wrong.
pub fn verify(file: &impl Source) -> Result<Checked, ChecksumError> {
    let length = file.length()?;
    if length % SECTOR != CHECKSUM_BYTES {
        return Ok(Checked::Absent);
    }
    let content = length - CHECKSUM_BYTES;
    let mut expected = [0; CHECKSUM_BYTES as usize];
    file.read_at(content, &mut expected)?;
    let found = digest_of(file, content)?;
    if expected == found {
        return Ok(Checked::Good);
    }
    Err(ChecksumError::Mismatch {
        expected: hex(&expected),
        found: hex(&found),
    })
}

/// The SHA-256 of the first `length` bytes.
///
/// # Errors
/// When they can't be read.
pub fn digest_of(file: &impl Source, length: u64) -> io::Result<[u8; CHECKSUM_BYTES as usize]> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    while at < length {
        let wanted = READ_BYTES.min(usize::try_from(length - at).unwrap_or(usize::MAX));
        file.read_at(at, &mut buffer[..wanted])?;
        digest.update(&buffer[..wanted]);
        at += wanted as u64;
    }
    Ok(digest.finalize().into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
