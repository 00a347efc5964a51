//! How keys and records look on disk.
//!
//! - `History`: revision (8 bytes, big endian), sub (4 bytes) → kind (1 byte), `mvccpb.KeyValue`.
//! - `Keys`: escaped key, inverted revision (8), → kind (1), sub (4). A key changes at most once a
//!   revision, so `sub` need not be part of the order.
//! - `Live`: key → `mvccpb.KeyValue`.
//!
//! Escaping keeps the order of keys of any length: `00` becomes `00 ff`, the end is `00 01`.

use crate::read::{ReadError, Space};
use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use proto::mvccpb::KeyValue;

const PUT: u8 = 0;
const TOMBSTONE: u8 = 1;

/// A place in history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub revision: i64,
    pub sub: u32,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Put,
    Tombstone,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Put => PUT,
            Self::Tombstone => TOMBSTONE,
        }
    }

    fn parse(space: Space, byte: Option<u8>) -> Result<Self, ReadError> {
        match byte {
            Some(PUT) => Ok(Self::Put),
            Some(TOMBSTONE) => Ok(Self::Tombstone),
            other => Err(ReadError::corrupt(space, format!("kind {other:?}"))),
        }
    }
}

pub fn history_key(position: Position) -> Bytes {
    let mut out = BytesMut::with_capacity(12);
    out.put_i64(position.revision);
    out.put_u32(position.sub);
    out.freeze()
}

pub fn parse_history_key(key: &[u8]) -> Result<Position, ReadError> {
    let bad = || ReadError::corrupt(Space::History, format!("key of {} bytes", key.len()));
    let (revision, sub) = key.split_at_checked(8).ok_or_else(bad)?;
    Ok(Position {
        revision: i64::from_be_bytes(revision.try_into().map_err(|_| bad())?),
        sub: u32::from_be_bytes(sub.try_into().map_err(|_| bad())?),
    })
}

pub fn history_value(kind: Kind, kv: &KeyValue) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + kv.encoded_len());
    out.put_u8(kind.byte());
    // A `BytesMut` grows: encoding into it can't run out of room.
    let _ = kv.encode(&mut out);
    out.freeze()
}

pub fn parse_history_value(value: &[u8]) -> Result<(Kind, KeyValue), ReadError> {
    let kind = Kind::parse(Space::History, value.first().copied())?;
    let kv = parse_kv(Space::History, Bytes::copy_from_slice(&value[1..]))?;
    Ok((kind, kv))
}

/// The encoded `mvccpb.KeyValue` of a record of `History`.
pub fn history_record(value: &[u8]) -> Result<&[u8], ReadError> {
    Kind::parse(Space::History, value.first().copied())?;
    Ok(&value[1..])
}

pub fn parse_kv(space: Space, value: Bytes) -> Result<KeyValue, ReadError> {
    KeyValue::decode(value).map_err(|error| ReadError::corrupt(space, error))
}

/// The start of all entries of `key` in `Keys`, and the first byte string after all of them.
pub fn key_versions(key: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut start = escape(key);
    let mut end = start.clone();
    start.extend([0, 1]);
    end.extend([0, 2]);
    (start, end)
}

/// Where the newest entry of `key` at or before `revision` is sought.
pub fn version_key(key: &[u8], revision: i64) -> Vec<u8> {
    let (mut out, _) = key_versions(key);
    out.extend((!revision).to_be_bytes());
    out
}

/// Where the entries of the first key at or after `key` are sought.
pub fn escape(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 10);
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out
}

/// The key and revision of an entry of `Keys`.
pub fn parse_version_key(encoded: &[u8]) -> Result<(Vec<u8>, i64), ReadError> {
    let bad = || ReadError::corrupt(Space::Keys, "unterminated key");
    let mut key = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter().enumerate();
    while let Some((_, byte)) = bytes.next() {
        if *byte != 0 {
            key.push(*byte);
            continue;
        }
        match bytes.next() {
            Some((_, 0xff)) => key.push(0),
            Some((at, 1)) => {
                let revision = encoded[at + 1..].try_into().map_err(|_| bad())?;
                return Ok((key, !i64::from_be_bytes(revision)));
            }
            _ => return Err(bad()),
        }
    }
    Err(bad())
}

pub fn version_value(kind: Kind, sub: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(5);
    out.put_u8(kind.byte());
    out.put_u32(sub);
    out.freeze()
}

pub fn parse_version_value(value: &[u8]) -> Result<(Kind, u32), ReadError> {
    let kind = Kind::parse(Space::Keys, value.first().copied())?;
    let sub = value[1..]
        .try_into()
        .map_err(|_| ReadError::corrupt(Space::Keys, format!("value of {} bytes", value.len())))?;
    Ok((kind, u32::from_be_bytes(sub)))
}

#[cfg(test)]
mod tests {
    use super::{parse_version_key, version_key};

    #[test]
    fn versions_sort_by_key_then_by_revision_descending() {
        let keys: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"\0\x01", b"\x01", b"a", b"a\0"];
        let mut encoded = Vec::new();
        for key in keys {
            for revision in [9, 2, 1] {
                encoded.push(version_key(key, revision));
                assert_eq!(
                    parse_version_key(encoded.last().expect("pushed")).expect("parses"),
                    (key.to_vec(), revision)
                );
            }
        }
        assert!(encoded.is_sorted());
    }
}
