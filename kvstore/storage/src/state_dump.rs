//! The whole replicated state as a stream of records: what a raft snapshot carries.

use crate::engine::Engine;
use crate::error::StorageError;
use bytes::Bytes;
use kvstore_core::{Batch, FORMAT, Read, ReadError, Space};
use proto::raftpb::StateRecord;

/// A chunk is sent when its records reach this size: well under the message limit of the peer protocol.
const CHUNK_BYTES: usize = 1 << 20;

/// Refuses the dump of a newer release; `format` is what its sender says, 0 from before it was said.
///
/// # Errors
/// When the records are laid out in a way that this release doesn't know.
pub fn check_dump_format(format: u32) -> Result<(), StorageError> {
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

/// A copy of the state at one applied index, in chunks.
#[derive(Debug, Clone, Default)]
pub struct StateDump {
    pub chunks: Vec<Vec<StateRecord>>,
}

impl StateDump {
    /// Copies the state that `view` shows.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn of(view: &dyn Read) -> Result<Self, StorageError> {
        let mut dump = Self::default();
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        for space in Space::STATE {
            let mut cursor = view.cursor(space);
            cursor.seek(&[])?;
            while let Some((key, value)) = cursor.entry() {
                bytes += key.len() + value.len();
                chunk.push(StateRecord {
                    space: space.number() as u32,
                    key: Bytes::copy_from_slice(key),
                    value: Bytes::copy_from_slice(value),
                });
                if bytes >= CHUNK_BYTES {
                    dump.chunks.push(std::mem::take(&mut chunk));
                    bytes = 0;
                }
                cursor.advance()?;
            }
        }
        dump.chunks.push(chunk);
        Ok(dump)
    }
}

/// Replaces the state by `dump`, in one step, durably.
///
/// # Errors
/// When the disk fails, or the dump names a space that isn't state.
pub fn install_state(engine: &dyn Engine, dump: StateDump) -> Result<(), StorageError> {
    let mut batch = Batch::default();
    for record in dump.chunks.into_iter().flatten() {
        let space = Space::STATE
            .into_iter()
            .find(|space| space.number() as u32 == record.space)
            .ok_or_else(|| ReadError::Io(format!("snapshot record of space {}", record.space)))?;
        batch.put(space, record.key, record.value);
    }
    engine.replace(&Space::STATE, &batch)?;
    engine.sync()
}
