//! What the store asks of a disk.

use crate::StorageError;
use kvstore_core::{Batch, Read, Space};
use std::sync::Arc;
use std::time::Duration;

/// How syncs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncStyle {
    /// A sync blocks: it belongs on a thread of its own.
    Thread,
    /// A sync takes this long in simulated time and must not leave the simulation's thread.
    Simulated(Duration),
}

/// A view that isn't bound to the place where it was taken.
pub trait SharedRead: Read + Send + Sync {}
impl<T: Read + Send + Sync> SharedRead for T {}

/// An ordered key-value store with atomic batches and explicit durability.
pub trait Engine: Send + Sync + 'static {
    /// A consistent view of now; later writes don't show in it. Not to be held across an await.
    fn view(&self) -> Box<dyn Read + '_>;

    /// As [`Engine::view`], for as long as it is wanted, on any thread. The engine stays open while one is held.
    fn shared_view(self: Arc<Self>) -> Box<dyn SharedRead>;

    /// Makes `batch` readable, whole. Durable only after a [`Engine::sync`].
    ///
    /// # Errors
    /// When the disk fails; the engine is poisoned then.
    fn write(&self, batch: &Batch) -> Result<(), StorageError>;

    /// As [`Engine::write`], and in the same step every key of `space` from `from` to before `to` is gone. However
    /// many there are, that is one record.
    ///
    /// # Errors
    /// When the disk fails; the engine is poisoned then.
    fn write_and_cut(&self, batch: &Batch, space: Space, from: &[u8], to: &[u8]) -> Result<(), StorageError>;

    /// Empties the stage: a second set of the spaces of the state, which nobody reads and which is empty
    /// after a crash.
    ///
    /// # Errors
    /// When the disk fails; the engine is poisoned then.
    fn clear_stage(&self) -> Result<(), StorageError>;

    /// Writes to the stage; only [`Space::STATE`] has one.
    ///
    /// # Errors
    /// When the disk fails; the engine is poisoned then.
    fn stage(&self, batch: &Batch) -> Result<(), StorageError>;

    /// Makes the stage the state: in one step, durably. The former state becomes the stage, to be cleared.
    /// Views that are held go on showing it.
    ///
    /// # Errors
    /// When the disk fails; the engine is poisoned then.
    fn promote_stage(&self) -> Result<(), StorageError>;

    /// Returns when every write made before the call is durable.
    ///
    /// # Errors
    /// When the disk fails; the engine is poisoned then.
    fn sync(&self) -> Result<(), StorageError>;

    fn sync_style(&self) -> SyncStyle;

    /// Bytes on disk. Not for every request: it may have to ask every file.
    fn size(&self) -> u64;

    /// Gives the space of deleted records back, piece by piece, beside whatever else goes on. It may take
    /// long, so it belongs where it may block. After each piece `go_on` is asked: `false` ends it.
    ///
    /// # Errors
    /// When the disk fails; the engine is poisoned then.
    fn reclaim(&self, go_on: &mut dyn FnMut() -> bool) -> Result<(), StorageError> {
        let _ = go_on;
        Ok(())
    }

    /// Why the engine is poisoned, if it is. A read that fails poisons too: what could not be read, or did
    /// not match its checksum, may be missing from anything.
    fn failure(&self) -> Option<StorageError>;
}
