//! What the store asks of a disk.

use crate::StorageError;
use kvstore_core::{Batch, Read, Space};
use std::time::Duration;

/// How syncs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncStyle {
    /// A sync blocks: it belongs on a thread of its own.
    Thread,
    /// A sync takes this long in simulated time and must not leave the simulation's thread.
    Simulated(Duration),
}

/// An ordered key-value store with atomic batches and explicit durability.
pub trait Engine: Send + Sync + 'static {
    /// A consistent view of now; later writes don't show in it. Not to be held across an await.
    fn view(&self) -> Box<dyn Read + '_>;

    /// Makes `batch` readable, whole. Durable only after a [`Engine::sync`].
    ///
    /// # Errors
    /// When the disk fails; the engine is poisoned then.
    fn write(&self, batch: &Batch) -> Result<(), StorageError>;

    /// As [`Engine::write`], after deleting everything in `spaces`; both in one atomic step.
    ///
    /// # Errors
    /// When the disk fails; the engine is poisoned then.
    fn replace(&self, spaces: &[Space], batch: &Batch) -> Result<(), StorageError>;

    /// Returns when every write made before the call is durable.
    ///
    /// # Errors
    /// When the disk fails; the engine is poisoned then.
    fn sync(&self) -> Result<(), StorageError>;

    fn sync_style(&self) -> SyncStyle;

    /// Bytes on disk.
    fn size(&self) -> u64;
}
