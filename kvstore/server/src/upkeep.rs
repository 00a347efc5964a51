//! How far compaction has got on this disk, and how much the store holds.

use kvstore_core::{CompactionStep, Meta, Read, StoredBytes, compaction_done};
use kvstore_storage::{Engine, StateView, StorageError};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The size of the files is asked for at most this often.
const SIZE_AGE: Duration = Duration::from_secs(1);
/// Compactions that are remembered (etcd `server/storage/mvcc/hash.go`, `hashStorageMaxSize`).
const REMEMBERED: usize = 10;

/// Shared by those who apply, those who compact and those who ask.
pub struct Upkeep {
    added: AtomicU64,
    removed: AtomicU64,
    /// Up to which revision superseded versions are gone from disk.
    compacted: watch::Sender<i64>,
    /// The revisions of the last compactions since the start, each with that of the one before it.
    compactions: Mutex<VecDeque<(i64, i64)>>,
    /// There is something to remove from disk.
    pub wanted: Notify,
    /// Counts how often the state was replaced. Held while it is, and while a step of compaction is written:
    /// a step planned on the state before must not be written into the one after.
    replacements: Mutex<u64>,
    /// From how many bytes of kept versions on a write says that the store is full.
    quota: AtomicU64,
    over_quota: Notify,
    size: Mutex<Option<(Instant, u64)>>,
}

impl Upkeep {
    /// # Errors
    /// When the store can't be read.
    pub fn read(view: &dyn Read, engine: &dyn Engine) -> Result<Self, StorageError> {
        let upkeep = Self {
            added: AtomicU64::new(0),
            removed: AtomicU64::new(0),
            compacted: watch::Sender::new(0),
            compactions: Mutex::default(),
            wanted: Notify::new(),
            replacements: Mutex::new(0),
            quota: AtomicU64::new(u64::MAX),
            over_quota: Notify::new(),
            size: Mutex::new(None),
        };
        upkeep.take_up(view, engine)?;
        Ok(upkeep)
    }

    fn take_up(&self, view: &dyn Read, engine: &dyn Engine) -> Result<(), StorageError> {
        let stored = match StoredBytes::read(view)? {
            Some(stored) => stored,
            // Written before there were counters: the size of the files is the best guess.
            None if Meta::read(view)?.revision > 1 => StoredBytes {
                added: engine.size(),
                removed: 0,
            },
            None => StoredBytes::default(),
        };
        self.added.store(stored.added, Ordering::Release);
        self.removed.store(stored.removed, Ordering::Release);
        self.compacted.send_replace(compaction_done(view)?);
        Ok(())
    }

    /// Runs `install`, which replaces the whole state and gives the new one.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn replace<'a>(
        &self,
        install: impl FnOnce() -> Result<(Arc<StateView>, &'a Arc<dyn Engine>), StorageError>,
    ) -> Result<(), StorageError> {
        let mut replacements = self.replacements.lock().unwrap_or_else(PoisonError::into_inner);
        let (view, engine) = install()?;
        *replacements += 1;
        self.compactions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.take_up(&*view, &**engine)
    }

    /// How often the state was replaced; to be asked before a step of compaction is planned.
    pub fn replacements(&self) -> u64 {
        *self.replacements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `write` write a step that was planned when the state had been replaced `planned` times.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write_step(
        &self,
        step: &CompactionStep,
        planned: u64,
        write: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let replacements = self.replacements.lock().unwrap_or_else(PoisonError::into_inner);
        if *replacements != planned {
            return Ok(());
        }
        write()?;
        self.removed.store(step.bytes_removed, Ordering::Release);
        self.compacted.send_replace(step.reached);
        Ok(())
    }

    /// The store has been compacted at `revision`, and at `before` the last time until then.
    pub fn compaction(&self, revision: i64, before: i64) {
        let mut compactions = self.compactions.lock().unwrap_or_else(PoisonError::into_inner);
        compactions.push_back((revision, before));
        if compactions.len() > REMEMBERED {
            compactions.pop_front();
        }
    }

    /// Where the store was compacted before it was at `revision`, if that was not long ago. etcd keeps the hash
    /// that it makes while it compacts, and that bears the compaction before.
    pub fn compaction_before(&self, revision: i64) -> Option<i64> {
        let compactions = self.compactions.lock().unwrap_or_else(PoisonError::into_inner);
        let found = compactions.iter().find(|(at, _)| *at == revision);
        found.map(|(_, before)| *before)
    }

    /// Up to which revision superseded versions are gone from disk, now and as it grows.
    pub fn compacted(&self) -> watch::Receiver<i64> {
        self.compacted.subscribe()
    }

    pub fn added(&self) -> u64 {
        self.added.load(Ordering::Acquire)
    }

    pub fn set_added(&self, bytes: u64) {
        self.added.store(bytes, Ordering::Release);
        if self.in_use() >= self.quota.load(Ordering::Relaxed) {
            self.over_quota.notify_one();
        }
    }

    /// In bytes of kept versions.
    pub fn set_quota(&self, bytes: u64) {
        self.quota.store(bytes, Ordering::Relaxed);
    }

    /// Returns after a write that left the store no smaller than the quota.
    pub async fn over_quota(&self) {
        self.over_quota.notified().await;
    }

    /// Bytes of kept versions, see [`StoredBytes`].
    pub fn in_use(&self) -> u64 {
        let removed = self.removed.load(Ordering::Acquire);
        StoredBytes {
            added: self.added(),
            removed,
        }
        .kept()
    }

    /// Bytes of the files, as they were within the last second.
    pub fn file_bytes(&self, engine: &dyn Engine) -> u64 {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        match *size {
            Some((asked, bytes)) if asked.elapsed() < SIZE_AGE => bytes,
            _ => {
                let bytes = engine.size();
                *size = Some((Instant::now(), bytes));
                bytes
            }
        }
    }
}
