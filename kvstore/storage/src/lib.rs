//! Where a member's state lives: the engine trait, RocksDB, the simulated disk, the raft log.
//!
//! Invariants:
//! - Writes of one engine are durable in the order in which they were made: a crash keeps a prefix of
//!   them that holds at least everything before the last successful [`Engine::sync`].
//! - A batch is kept whole or not at all.
//! - After a failed write, sync or read the engine is poisoned: it takes no writes from then on, because
//!   nobody can tell what is on disk.

mod engine;
mod error;
mod memory;
mod raft_log;
mod rocks;
mod state_stream;
mod state_view;

pub use engine::{Engine, SharedRead, SyncStyle};
pub use error::StorageError;
pub use memory::{MemoryDisk, MemoryEngine};
pub use raft_log::{RaftLog, decode_entry, encode_entry};
pub use rocks::{RocksEngine, RocksOptions};
pub use state_stream::{StagedState, StateDigest, check_state_format, each_state_chunk};
pub use state_view::{StateCache, StateView};
