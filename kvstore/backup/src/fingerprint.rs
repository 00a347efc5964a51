//! Keys by their hash: sixteen bytes for a key of any length.

use sha2::{Digest as _, Sha256};

/// The first half of a key's SHA-256: two keys with the same one don't occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(u128);

impl Fingerprint {
    pub fn of(key: &[u8]) -> Self {
        let digest = Sha256::digest(key);
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(half))
    }
}
