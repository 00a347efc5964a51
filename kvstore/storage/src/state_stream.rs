//! The whole replicated state as a stream of records: what a raft snapshot carries.
//!
//! Neither side holds more than a chunk of it. The receiver writes to the engine's stage, which nobody reads
//! and a crash empties; it becomes the state in one step, once all of the stream is there and its digest is
//! the sender's.

use crate::engine::Engine;
use crate::error::StorageError;
use bytes::Bytes;
use kvstore_core::{Batch, FORMAT, Read, ReadError, Space};
use proto::raftpb::StateRecord;
use std::sync::Arc;

/// A chunk is sent when its records reach this size: well under the message limit of the peer protocol.
const CHUNK_BYTES: usize = 1 << 20;

/// Refuses the state of a newer release; `format` is what its sender says, 0 from before it was said.
///
/// # Errors
/// When the records are laid out in a way that this release doesn't know.
pub fn check_state_format(format: u32) -> Result<(), StorageError> {
    let expected = u32::from(FORMAT);
    if format > expected {
        return Err(StorageError::Format {
            what: "the snapshot",
            found: format,
            expected,
        });
    }
    Ok(())
}

/// What a stream comes to: equal for equal records in the same order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateDigest {
    pub records: u64,
    /// CRC-32C of all spaces, lengths, keys and values.
    pub checksum: u32,
}

impl StateDigest {
    fn add(&mut self, record: &StateRecord) {
        let lengths = [
            u64::from(record.space),
            record.key.len() as u64,
            record.value.len() as u64,
        ];
        for length in lengths {
            self.checksum = crc32c::crc32c_append(self.checksum, &length.to_le_bytes());
        }
        self.checksum = crc32c::crc32c_append(self.checksum, &record.key);
        self.checksum = crc32c::crc32c_append(self.checksum, &record.value);
        self.records += 1;
    }
}

/// Calls `visit` with the state that `view` shows, in chunks; gives the digest of all.
///
/// # Errors
/// When the disk fails, or the visitor's own.
pub fn each_state_chunk<E: From<ReadError>>(
    view: &dyn Read,
    mut visit: impl FnMut(Vec<StateRecord>) -> Result<(), E>,
) -> Result<StateDigest, E> {
    let mut digest = StateDigest::default();
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    for space in Space::STATE {
        let mut cursor = view.scan(space);
        cursor.seek(&[])?;
        while let Some((key, value)) = cursor.entry() {
            bytes += key.len() + value.len();
            let record = StateRecord {
                space: space.number() as u32,
                key: Bytes::copy_from_slice(key),
                value: Bytes::copy_from_slice(value),
            };
            digest.add(&record);
            chunk.push(record);
            if bytes >= CHUNK_BYTES {
                visit(std::mem::take(&mut chunk))?;
                bytes = 0;
            }
            cursor.advance()?;
        }
    }
    visit(chunk)?;
    Ok(digest)
}

/// A state on its way into an engine.
pub struct StagedState {
    engine: Arc<dyn Engine>,
    digest: StateDigest,
    promoted: bool,
}

impl StagedState {
    /// Begins with an empty stage. Only one may be under way for an engine.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin(engine: Arc<dyn Engine>) -> Result<Self, StorageError> {
        engine.clear_stage()?;
        Ok(Self {
            engine,
            digest: StateDigest::default(),
            promoted: false,
        })
    }

    /// Adds the records of one chunk.
    ///
    /// # Errors
    /// When the disk fails, or a record isn't of the state.
    pub fn add(&mut self, records: Vec<StateRecord>) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        for record in records {
            self.digest.add(&record);
            let space = Space::STATE
                .into_iter()
                .find(|space| space.number() as u32 == record.space)
                .ok_or_else(|| StorageError::Snapshot(format!("a record of space {}", record.space)))?;
            batch.put(space, record.key, record.value);
        }
        self.engine.stage(&batch)
    }

    /// Compares with what the sender says that it sent.
    ///
    /// # Errors
    /// When it isn't the same.
    pub fn check(&self, sent: StateDigest) -> Result<(), StorageError> {
        if self.digest == sent {
            return Ok(());
        }
        Err(StorageError::Snapshot(format!(
            "received {:?}, sent was {sent:?}",
            self.digest
        )))
    }

    /// Makes it the state, durably, in one step. The stage has the former state then; it is to be cleared
    /// once nobody looks at that any more.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn promote(mut self) -> Result<Arc<dyn Engine>, StorageError> {
        self.promoted = true;
        self.engine.promote_stage()?;
        Ok(Arc::clone(&self.engine))
    }
}

impl Drop for StagedState {
    /// What isn't wanted gives its space back.
    fn drop(&mut self) {
        if !self.promoted
            && let Err(error) = self.engine.clear_stage()
        {
            tracing::warn!(%error, "emptying the stage");
        }
    }
}
