//! What a simulated disk holds, and how it may misbehave.

use bytes::Bytes;
use kvstore_core::{Batch, Space};
use rpds::RedBlackTreeMapSync;
use std::time::Duration;

/// Maps that share their structure: a view is a copy of them.
pub type Records = RedBlackTreeMapSync<Bytes, Bytes>;
pub type Spaces = [Records; Space::ALL.len()];

/// One write that is not durable yet.
pub struct Pending {
    pub cleared: Vec<Space>,
    pub batch: Batch,
}

/// How the disk misbehaves now; each by itself, so that a simulation may combine them.
#[derive(Default)]
pub struct Faults {
    pub failing: bool,
    pub unreadable: bool,
    pub ignores_syncs: bool,
    pub capacity: Option<u64>,
    pub extra_latency: Duration,
}

#[derive(Default)]
pub struct Platter {
    pub durable: Spaces,
    pub pending: Vec<Pending>,
    /// Durable and pending together: what a reader sees.
    pub current: Spaces,
    /// Bytes of keys and values in `current`.
    pub bytes: u64,
    /// Counts the boots; engines of earlier boots may not write.
    pub boot: u64,
    pub faults: Faults,
}

impl Platter {
    /// What a power cut leaves: everything that was not synced is gone.
    pub fn lose_unsynced(&mut self) {
        self.pending.clear();
        self.current = self.durable.clone();
        self.bytes = self.current.iter().map(bytes_of).sum();
    }

    /// Makes the first `writes` of the pending ones durable.
    pub fn persist(&mut self, writes: usize) {
        let kept = writes.min(self.pending.len());
        for write in self.pending.drain(..kept) {
            apply(&mut self.durable, &write.cleared, &write.batch);
        }
    }

    /// Takes a write; `false` when there's no room for it.
    pub fn take(&mut self, cleared: &[Space], batch: &Batch) -> bool {
        if let Some(capacity) = self.faults.capacity {
            let grown: u64 = batch.0.iter().map(write_bytes).sum();
            // A write needs room before an older record makes any, as on a disk that is appended to.
            if self.bytes + grown > capacity {
                return false;
            }
        }
        let change = apply(&mut self.current, cleared, batch);
        self.bytes = self.bytes.saturating_add_signed(change);
        self.pending.push(Pending {
            cleared: cleared.to_vec(),
            batch: batch.clone(),
        });
        true
    }
}

fn write_bytes(write: &kvstore_core::Write) -> u64 {
    write
        .value
        .as_ref()
        .map_or(0, |value| (write.key.len() + value.len()) as u64)
}

fn bytes_of(space: &Records) -> u64 {
    space
        .iter()
        .map(|(key, value)| (key.len() + value.len()) as u64)
        .sum()
}

/// Gives by how many bytes `spaces` grew.
fn apply(spaces: &mut Spaces, cleared: &[Space], batch: &Batch) -> i64 {
    let mut change = 0;
    for space in cleared {
        change -= bytes_of(&spaces[space.number()]).cast_signed();
        spaces[space.number()] = Records::default();
    }
    for write in &batch.0 {
        let space = &mut spaces[write.space.number()];
        if let Some(before) = space.get(&write.key) {
            change -= ((write.key.len() + before.len()) as u64).cast_signed();
        }
        change += write_bytes(write).cast_signed();
        match &write.value {
            Some(value) => space.insert_mut(write.key.clone(), value.clone()),
            None => {
                space.remove_mut(&write.key);
            }
        }
    }
    change
}
