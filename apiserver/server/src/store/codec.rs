//! Stored values: compact JSON, sealed with AES-256-GCM when the key says so.
//!
//! A sealed value is `k8s:enc:aesgcm:v1:key1:` + a 12-byte nonce + ciphertext with tag; the store key is the
//! additional data, so that a value copied to another key does not open (upstream:
//! apiserver/pkg/storage/value/encrypt/aes). Plain values are read as they are: sealing can be turned on later.

use super::{StoreError, Stored};
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use bytes::Bytes;
use proto::mvccpb::KeyValue;
use support::Random;

const PREFIX: &[u8] = b"k8s:enc:aesgcm:v1:key1:";
const NONCE_BYTES: usize = 12;
/// Store keys whose values are sealed.
const SEALED_FOLDERS: &[&str] = &["/registry/secrets/"];

pub(crate) struct Codec {
    cipher: Option<Aes256Gcm>,
    random: Random,
}

impl Codec {
    pub(crate) fn new(key: Option<&[u8; 32]>, random: Random) -> Self {
        Self {
            cipher: key.map(|key| Aes256Gcm::new(key.into())),
            random,
        }
    }

    pub(crate) fn seal(&self, key: &str, value: &[u8]) -> Bytes {
        let Some(cipher) = &self.cipher else {
            return Bytes::copy_from_slice(value);
        };
        if !SEALED_FOLDERS.iter().any(|folder| key.starts_with(folder)) {
            return Bytes::copy_from_slice(value);
        }
        let mut nonce = [0_u8; NONCE_BYTES];
        self.random.fill(&mut nonce);
        let payload = Payload {
            msg: value,
            aad: key.as_bytes(),
        };
        let sealed = cipher
            .encrypt(Nonce::from_slice(&nonce), payload)
            .expect("AES-GCM fails only beyond 64 GiB");
        [PREFIX, &nonce, &sealed].concat().into()
    }

    pub(crate) fn open(&self, kv: KeyValue) -> Result<Stored, StoreError> {
        let value = match kv.value.strip_prefix(PREFIX) {
            None => kv.value,
            Some(sealed) => self.unseal(&kv.key, sealed)?,
        };
        Ok(Stored {
            key: kv.key,
            value,
            mod_revision: kv.mod_revision,
            lease: kv.lease,
        })
    }

    fn unseal(&self, key: &[u8], sealed: &[u8]) -> Result<Bytes, StoreError> {
        let corrupt = |reason: &str| StoreError::Corrupt {
            key: String::from_utf8_lossy(key).into_owned(),
            reason: reason.to_owned(),
        };
        let cipher = self
            .cipher
            .as_ref()
            .ok_or_else(|| corrupt("sealed, and there is no encryption key"))?;
        let (nonce, sealed) = sealed
            .split_at_checked(NONCE_BYTES)
            .ok_or_else(|| corrupt("shorter than its nonce"))?;
        cipher
            .decrypt(
                Nonce::from_slice(nonce),
                Payload {
                    msg: sealed,
                    aad: key,
                },
            )
            .map(Bytes::from)
            .map_err(|_| corrupt("does not open with the encryption key"))
    }
}

#[cfg(test)]
mod tests {
    use super::Codec;
    use proto::mvccpb::KeyValue;
    use support::Random;

    fn kv(key: &str, value: bytes::Bytes) -> KeyValue {
        KeyValue {
            key: bytes::Bytes::copy_from_slice(key.as_bytes()),
            value,
            ..Default::default()
        }
    }

    #[test]
    fn secrets_are_sealed_and_open_only_under_their_own_key() {
        let codec = Codec::new(Some(&[7; 32]), Random::seeded(1));
        let sealed = codec.seal("/registry/secrets/a/b", b"hello");
        assert!(!sealed.windows(5).any(|window| window == b"hello"));
        let opened = codec
            .open(kv("/registry/secrets/a/b", sealed.clone()))
            .expect("opens");
        assert_eq!(opened.value.as_ref(), b"hello");
        assert!(codec.open(kv("/registry/secrets/a/c", sealed)).is_err());
        assert_eq!(
            codec.seal("/registry/configmaps/a/b", b"hello").as_ref(),
            b"hello"
        );
    }
}
