//! The raft log and vote on an engine.
//!
//! A record is one version byte, four bytes of CRC-32C (little endian) of the rest, and a
//! `raftpb.Entry`. Keys are indexes, big endian.

use crate::engine::Engine;
use crate::error::StorageError;
use bytes::{BufMut as _, Bytes, BytesMut};
use kvstore_core::{Batch, ReadError, Space};
use prost::Message;
use proto::raftpb::{Entry, LogId, Vote};
use std::sync::Arc;

const RECORD_VERSION: u8 = 1;
const HEADER: usize = 5;

const VOTE: &[u8] = b"vote";
const PURGED: &[u8] = b"purged";

/// Reads and writes log entries, the vote and the purge bound. Writes are not durable before
/// [`Engine::sync`], except where it is said.
#[derive(Clone)]
pub struct RaftLog {
    engine: Arc<dyn Engine>,
}

impl RaftLog {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Adds entries at their indexes.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn append(&self, entries: impl IntoIterator<Item = Entry>) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        for entry in entries {
            batch.put(
                Space::Log,
                key(entry.id.unwrap_or_default().index),
                encode_entry(&entry),
            );
        }
        self.engine.write(&batch)
    }

    /// The entries from `start` to before `end`, up to about `max_bytes` (at least one, if there is one).
    ///
    /// # Errors
    /// When the disk fails or a record is damaged.
    pub fn read(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<Entry>, StorageError> {
        let view = self.engine.view();
        let mut cursor = view.cursor(Space::Log);
        let mut entries = Vec::new();
        let mut bytes = 0;
        cursor.seek(&key(start))?;
        while let Some((at, value)) = cursor.entry() {
            let index = parse_key(at)?;
            if index >= end || (bytes > 0 && bytes + value.len() > max_bytes) {
                break;
            }
            bytes += value.len();
            entries.push(decode_entry(index, Bytes::copy_from_slice(value))?);
            cursor.advance()?;
        }
        Ok(entries)
    }

    /// The id of the last entry in the log.
    ///
    /// # Errors
    /// When the disk fails or the record is damaged.
    pub fn last(&self) -> Result<Option<LogId>, StorageError> {
        let view = self.engine.view();
        let mut cursor = view.cursor(Space::Log);
        cursor.seek_back(&[0xff; 9])?;
        match cursor.entry() {
            None => Ok(None),
            Some((at, value)) => Ok(decode_entry(parse_key(at)?, Bytes::copy_from_slice(value))?.id),
        }
    }

    /// Removes all entries after `index`, durably.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn truncate_after(&self, index: Option<u64>) -> Result<(), StorageError> {
        let from = index.map_or(0, |index| index + 1);
        let batch = self.deletions_from(from)?;
        self.engine.write(&batch)?;
        self.engine.sync()
    }

    /// Removes all entries up to `id`. If that's lost in a crash they are removed again later.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn purge(&self, id: LogId) -> Result<(), StorageError> {
        let from = self.purged()?.map_or(0, |purged| purged.index + 1);
        if from > id.index {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.put(Space::RaftState, PURGED, id.encode_to_vec());
        self.engine
            .write_and_cut(&batch, Space::Log, &key(from), &key(id.index + 1))
    }

    /// # Errors
    /// When the disk fails.
    pub fn purged(&self) -> Result<Option<LogId>, StorageError> {
        self.load(PURGED)
    }

    /// Stores the vote, durably: a vote once given must not be forgotten.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save_vote(&self, vote: Vote) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        batch.put(Space::RaftState, VOTE, vote.encode_to_vec());
        self.engine.write(&batch)?;
        self.engine.sync()
    }

    /// # Errors
    /// When the disk fails.
    pub fn vote(&self) -> Result<Option<Vote>, StorageError> {
        self.load(VOTE)
    }

    fn load<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, StorageError> {
        match self.engine.view().get(Space::RaftState, key)? {
            None => Ok(None),
            Some(bytes) => M::decode(bytes)
                .map(Some)
                .map_err(|error| ReadError::corrupt(Space::RaftState, error).into()),
        }
    }

    fn deletions_from(&self, from: u64) -> Result<Batch, StorageError> {
        let view = self.engine.view();
        let mut batch = Batch::default();
        let mut cursor = view.cursor(Space::Log);
        cursor.seek(&key(from))?;
        while let Some((at, _)) = cursor.entry() {
            batch.delete(Space::Log, at.to_vec());
            cursor.advance()?;
        }
        Ok(batch)
    }
}

/// The record of an entry.
pub fn encode_entry(entry: &Entry) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER + entry.encoded_len());
    out.put_u8(RECORD_VERSION);
    out.put_u32_le(0);
    // A `BytesMut` grows: encoding into it can't run out of room.
    let _ = entry.encode(&mut out);
    let checksum = crc32c::crc32c(&out[HEADER..]);
    out[1..HEADER].copy_from_slice(&checksum.to_le_bytes());
    out.freeze()
}

/// The entry of a record; `index` says where it stood.
///
/// # Errors
/// When the record is damaged or not of that index.
pub fn decode_entry(index: u64, record: Bytes) -> Result<Entry, StorageError> {
    let corrupt = |reason: String| StorageError::CorruptLog { index, reason };
    if record.len() < HEADER {
        return Err(corrupt(format!("{} bytes", record.len())));
    }
    // Newer releases count up; anything else is damage.
    if record[0] == 0 {
        return Err(corrupt("version 0".to_owned()));
    }
    if record[0] != RECORD_VERSION {
        return Err(StorageError::Format {
            what: "a record of the log",
            found: record[0].into(),
            expected: RECORD_VERSION.into(),
        });
    }
    let body = record.slice(HEADER..);
    if record[1..HEADER] != crc32c::crc32c(&body).to_le_bytes() {
        return Err(corrupt("checksum".to_owned()));
    }
    let entry = Entry::decode(body).map_err(|error| corrupt(error.to_string()))?;
    match entry.id {
        Some(id) if id.index == index => Ok(entry),
        other => Err(corrupt(format!("holds {other:?}"))),
    }
}

fn key(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_be_bytes())
}

fn parse_key(key: &[u8]) -> Result<u64, ReadError> {
    key.try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| ReadError::corrupt(Space::Log, "key"))
}
