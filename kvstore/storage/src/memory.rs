//! The simulated disk: a platter that outlives the member and forgets what was not synced.
//!
//! The simulation holds a [`MemoryDisk`] for each node; the node opens an engine on it at every boot.
//! Opening is what a power cut leaves behind: writes after the last sync are gone, except a prefix that
//! [`MemoryDisk::survive`] may grant (a disk may have written more than it was asked to).
//!
//! Knobs make it misbehave: slow, full, failing, unreadable, damaged behind the engine's back. Two of them,
//! [`MemoryDisk::ignore_syncs`] and [`MemoryDisk::tear`], break what an [`Engine`] promises: nothing can
//! stand on such a disk, they are there to prove that a simulation would notice.

mod platter;
mod view;

use crate::engine::{Engine, SharedRead, SyncStyle};
use crate::error::StorageError;
use bytes::Bytes;
use kvstore_core::{Batch, Read, Space};
use platter::Platter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use view::{MemoryView, UNREADABLE};

/// What the system says when a disk is full.
const NO_SPACE: &str = "No space left on device (os error 28)";

/// A disk that outlives the engines opened on it.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    platter: Arc<Mutex<Platter>>,
}

impl MemoryDisk {
    pub fn new() -> Self {
        Self::default()
    }

    /// Boots: forgets unsynced writes and gives the engine of this boot. `sync_latency` is how long a
    /// sync takes in simulated time.
    pub fn open(&self, sync_latency: Duration) -> MemoryEngine {
        let mut platter = self.lock();
        platter.lose_unsynced();
        platter.boot += 1;
        MemoryEngine {
            disk: self.clone(),
            boot: platter.boot,
            sync_latency,
            poison: Mutex::new(None),
        }
    }

    /// Makes the first `writes` of the unsynced ones durable, as a disk may before the power goes. This is
    /// all that a torn tail comes to: the record that was being written fails its checksum at the next
    /// opening and is dropped, whole.
    pub fn survive(&self, writes: usize) {
        self.lock().persist(writes);
    }

    /// How many writes would be lost now.
    pub fn unsynced(&self) -> usize {
        self.lock().pending.len()
    }

    /// Lets every write and sync fail from now on, until [`MemoryDisk::heal`].
    pub fn fail(&self) {
        self.lock().faults.failing = true;
    }

    /// Lets every read fail from now on.
    pub fn fail_reads(&self) {
        self.lock().faults.unreadable = true;
    }

    /// Gives the disk room for this many bytes of keys and values; `None`: for any number. A write that
    /// finds no room fails, as does everything after it until the next boot.
    pub fn limit(&self, capacity: Option<u64>) {
        self.lock().faults.capacity = capacity;
    }

    /// Bytes of keys and values on the disk, unsynced ones included.
    pub fn used(&self) -> u64 {
        self.lock().bytes
    }

    /// Lets every sync take this much longer than the boot's latency, the next one included.
    pub fn slow_down(&self, extra: Duration) {
        self.lock().faults.extra_latency = extra;
    }

    /// Forgets everything, as a new disk in the place of this one.
    pub fn wipe(&self) {
        self.lock().wipe();
    }

    /// Takes back all of the above but a wipe: the disk works again for the next boot. An engine that has seen a
    /// failure stays closed; what was damaged stays damaged.
    pub fn heal(&self) {
        self.lock().faults = platter::Faults::default();
    }

    /// The keys of a space, in order: to choose what to damage.
    pub fn keys(&self, space: Space) -> Vec<Bytes> {
        self.lock().current[space.number()].keys().cloned().collect()
    }

    /// Changes a stored value behind the engine's back; `false` when there is no such record. Nothing
    /// tells a reader: this is the damage that checksums don't find.
    pub fn corrupt(&self, space: Space, key: &[u8], damage: impl Fn(&mut Vec<u8>)) -> bool {
        let mut platter = self.lock();
        let platter = &mut *platter;
        let mut found = false;
        for spaces in [&mut platter.durable, &mut platter.current] {
            let records = &mut spaces[space.number()];
            if let Some(value) = records.get(key) {
                let mut bytes = value.to_vec();
                damage(&mut bytes);
                records.insert_mut(Bytes::copy_from_slice(key), bytes.into());
                found = true;
            }
        }
        found
    }

    /// Lets syncs say that all is durable while nothing is, from now on. No store survives a crash of such
    /// a disk; a simulation that doesn't notice is of no use.
    pub fn ignore_syncs(&self, ignore: bool) {
        self.lock().faults.ignores_syncs = ignore;
    }

    /// As [`MemoryDisk::survive`], and half of the write after those survives too: what a log without
    /// checksums would leave. No store can stand on that.
    pub fn tear(&self, writes: usize) {
        let mut platter = self.lock();
        platter.persist(writes);
        if let Some(platter::Pending::Batch(next)) = platter.pending.first_mut() {
            let half = next.0.len() / 2;
            next.0.truncate(half);
            platter.persist(1);
        }
    }

    fn view(&self) -> MemoryView {
        MemoryView {
            spaces: self.lock().current.clone(),
            disk: self.clone(),
        }
    }

    fn is_unreadable(&self) -> bool {
        self.lock().faults.unreadable
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine of one boot.
pub struct MemoryEngine {
    disk: MemoryDisk,
    boot: u64,
    sync_latency: Duration,
    poison: Mutex<Option<String>>,
}

impl MemoryEngine {
    /// Runs `operation` on the platter, if this engine may still use it; remembers a failure.
    fn guarded(
        &self,
        name: &'static str,
        operation: impl FnOnce(&mut Platter) -> Result<(), &'static str>,
    ) -> Result<(), StorageError> {
        let mut poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = poison.as_ref() {
            return Err(StorageError::Poisoned(reason.clone()));
        }
        let mut platter = self.disk.lock();
        let outcome = if platter.boot != self.boot {
            Err("the disk was opened again")
        } else if platter.faults.failing {
            Err("simulated failure")
        } else {
            operation(&mut platter)
        };
        outcome.map_err(|reason| {
            *poison = Some(reason.to_owned());
            StorageError::Io {
                operation: name,
                reason: reason.to_owned(),
            }
        })
    }
}

impl Engine for MemoryEngine {
    fn view(&self) -> Box<dyn Read + '_> {
        Box::new(self.disk.view())
    }

    fn shared_view(self: Arc<Self>) -> Box<dyn SharedRead> {
        Box::new(self.disk.view())
    }

    fn write(&self, batch: &Batch) -> Result<(), StorageError> {
        self.guarded("writing a batch", |platter| match platter.take(batch) {
            true => Ok(()),
            false => Err(NO_SPACE),
        })
    }

    fn write_and_cut(&self, batch: &Batch, space: Space, from: &[u8], to: &[u8]) -> Result<(), StorageError> {
        self.guarded("writing a batch", |platter| {
            let mut whole = batch.clone();
            for key in platter.keys_between(space, from, to) {
                whole.delete(space, key);
            }
            match platter.take(&whole) {
                true => Ok(()),
                false => Err(NO_SPACE),
            }
        })
    }

    fn clear_stage(&self) -> Result<(), StorageError> {
        self.guarded("emptying the stage", |platter| {
            platter.stage = Default::default();
            Ok(())
        })
    }

    fn stage(&self, batch: &Batch) -> Result<(), StorageError> {
        self.guarded("writing to the stage", |platter| {
            match platter.take_staged(batch) {
                true => Ok(()),
                false => Err(NO_SPACE),
            }
        })
    }

    fn promote_stage(&self) -> Result<(), StorageError> {
        self.guarded("promoting the stage", |platter| {
            platter.promote();
            if !platter.faults.ignores_syncs {
                platter.persist(usize::MAX);
            }
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.guarded("syncing", |platter| {
            if !platter.faults.ignores_syncs {
                platter.persist(usize::MAX);
            }
            Ok(())
        })
    }

    fn sync_style(&self) -> SyncStyle {
        SyncStyle::Simulated(self.sync_latency + self.disk.lock().faults.extra_latency)
    }

    fn size(&self) -> u64 {
        self.disk.used()
    }

    fn failure(&self) -> Option<StorageError> {
        let poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        let unreadable = self.disk.is_unreadable();
        let reason = poison
            .clone()
            .or_else(|| unreadable.then(|| UNREADABLE.to_owned()));
        reason.map(StorageError::Poisoned)
    }
}
