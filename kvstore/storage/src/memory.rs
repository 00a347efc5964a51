//! The simulated disk: a platter that outlives the member and forgets what was not synced.
//!
//! The simulation holds a [`MemoryDisk`] for each node; the node opens an engine on it at every boot.
//! Opening is what a power cut leaves behind: writes after the last sync are gone, except a prefix that
//! [`MemoryDisk::survive`] may grant (a disk may have written more than it was asked to).

use crate::engine::{Engine, SharedRead, SyncStyle};
use crate::error::StorageError;
use bytes::Bytes;
use kvstore_core::{Batch, Cursor, Read, ReadError, Space};
use rpds::RedBlackTreeMapSync;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maps that share their structure: a view is a copy of them.
type Map = RedBlackTreeMapSync<Bytes, Bytes>;
type Spaces = [Map; Space::ALL.len()];

/// One write that is not durable yet.
struct Pending {
    cleared: Vec<Space>,
    batch: Batch,
}

#[derive(Default)]
struct Platter {
    durable: Spaces,
    pending: Vec<Pending>,
    /// Durable and pending together: what a reader sees.
    current: Spaces,
    /// Counts the boots; engines of earlier boots may not write.
    boot: u64,
    failing: bool,
}

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
        platter.pending.clear();
        platter.current = platter.durable.clone();
        platter.boot += 1;
        MemoryEngine {
            disk: self.clone(),
            boot: platter.boot,
            sync_latency,
            poison: Mutex::new(None),
        }
    }

    /// Makes the first `writes` of the unsynced ones durable, as a disk may before the power goes.
    pub fn survive(&self, writes: usize) {
        let mut platter = self.lock();
        let kept = writes.min(platter.pending.len());
        let kept: Vec<Pending> = platter.pending.drain(..kept).collect();
        for write in kept {
            apply(&mut platter.durable, &write.cleared, &write.batch);
        }
    }

    /// How many writes would be lost now.
    pub fn unsynced(&self) -> usize {
        self.lock().pending.len()
    }

    /// Lets every write and sync fail from now on.
    pub fn fail(&self) {
        self.lock().failing = true;
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
    /// The platter, if this engine may still use it.
    fn writable(&self) -> Result<MutexGuard<'_, Platter>, StorageError> {
        let mut poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = poison.as_ref() {
            return Err(StorageError::Poisoned(reason.clone()));
        }
        let platter = self.disk.lock();
        let reason = if platter.boot != self.boot {
            "the disk was opened again"
        } else if platter.failing {
            "simulated failure"
        } else {
            return Ok(platter);
        };
        *poison = Some(reason.to_owned());
        Err(StorageError::Io {
            operation: "writing",
            reason: reason.to_owned(),
        })
    }
}

impl Engine for MemoryEngine {
    fn view(&self) -> Box<dyn Read + '_> {
        Box::new(MemoryView(self.disk.lock().current.clone()))
    }

    fn shared_view(self: Arc<Self>) -> Box<dyn SharedRead> {
        Box::new(MemoryView(self.disk.lock().current.clone()))
    }

    fn write(&self, batch: &Batch) -> Result<(), StorageError> {
        self.replace(&[], batch)
    }

    fn replace(&self, spaces: &[Space], batch: &Batch) -> Result<(), StorageError> {
        let mut platter = self.writable()?;
        apply(&mut platter.current, spaces, batch);
        platter.pending.push(Pending {
            cleared: spaces.to_vec(),
            batch: batch.clone(),
        });
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut platter = self.writable()?;
        for write in std::mem::take(&mut platter.pending) {
            apply(&mut platter.durable, &write.cleared, &write.batch);
        }
        Ok(())
    }

    fn sync_style(&self) -> SyncStyle {
        SyncStyle::Simulated(self.sync_latency)
    }

    fn size(&self) -> u64 {
        let platter = self.disk.lock();
        let entries = platter.current.iter().flat_map(|space| space.iter());
        entries.map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}

fn apply(spaces: &mut Spaces, cleared: &[Space], batch: &Batch) {
    for space in cleared {
        spaces[space.number()] = Map::default();
    }
    for write in &batch.0 {
        let space = &mut spaces[write.space.number()];
        match &write.value {
            Some(value) => space.insert_mut(write.key.clone(), value.clone()),
            None => {
                space.remove_mut(&write.key);
            }
        }
    }
}

struct MemoryView(Spaces);

impl Read for MemoryView {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.0[space.number()].get(key).cloned())
    }

    fn cursor(&self, space: Space) -> Box<dyn Cursor + '_> {
        Box::new(MemoryCursor {
            space: &self.0[space.number()],
            at: None,
        })
    }
}

struct MemoryCursor<'a> {
    space: &'a Map,
    at: Option<(&'a Bytes, &'a Bytes)>,
}

impl MemoryCursor<'_> {
    fn first(&mut self, from: Bound<&[u8]>) {
        self.at = self.space.range::<[u8], _>((from, Bound::Unbounded)).next();
    }

    fn last(&mut self, to: Bound<&[u8]>) {
        self.at = self.space.range::<[u8], _>((Bound::Unbounded, to)).next_back();
    }
}

impl Cursor for MemoryCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.first(Bound::Included(key));
        Ok(())
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.last(Bound::Included(key));
        Ok(())
    }

    fn retreat(&mut self) -> Result<(), ReadError> {
        if let Some((key, _)) = self.at {
            self.last(Bound::Excluded(key));
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), ReadError> {
        if let Some((key, _)) = self.at {
            self.first(Bound::Excluded(key));
        }
        Ok(())
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.at.map(|(key, value)| (key.as_ref(), value.as_ref()))
    }
}
