//! What a simulated disk holds, and how it may misbehave.

use bytes::Bytes;
use kvstore_core::{Batch, Space};
use rpds::RedBlackTreeMapSync;
use std::ops::Bound;
use std::time::Duration;

/// Maps that share their structure: a view is a copy of them.
pub type Records = RedBlackTreeMapSync<Bytes, Bytes>;
pub type Spaces = [Records; Space::ALL.len()];

/// One write that is not durable yet.
pub enum Pending {
    Batch(Batch),
    /// A stage that became the state.
    Promotion(Box<Spaces>),
}

impl Pending {
    /// Gives by how many bytes `spaces` grew.
    fn apply(&self, spaces: &mut Spaces) -> i64 {
        match self {
            Self::Batch(batch) => apply(spaces, batch),
            Self::Promotion(stage) => promote(spaces, stage),
        }
    }
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
    /// What is to become the state, and is lost in a crash.
    pub stage: Spaces,
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
        self.stage = Spaces::default();
        self.current = self.durable.clone();
        self.bytes = self.current.iter().map(bytes_of).sum();
    }

    /// Engines of before stay closed.
    pub fn wipe(&mut self) {
        self.durable = Spaces::default();
        self.lose_unsynced();
        self.boot += 1;
    }

    /// Makes the first `writes` of the pending ones durable.
    pub fn persist(&mut self, writes: usize) {
        let kept = writes.min(self.pending.len());
        for write in self.pending.drain(..kept) {
            write.apply(&mut self.durable);
        }
    }

    /// Takes a write; `false` when there's no room for it.
    pub fn take(&mut self, batch: &Batch) -> bool {
        if !self.has_room(batch) {
            return false;
        }
        self.take_pending(Pending::Batch(batch.clone()));
        true
    }

    /// The keys that a reader sees from `from` to before `to`.
    pub fn keys_between(&self, space: Space, from: &[u8], to: &[u8]) -> Vec<Bytes> {
        let range = (Bound::Included(from), Bound::Excluded(to));
        let records = self.current[space.number()].range::<[u8], _>(range);
        records.map(|(key, _)| key.clone()).collect()
    }

    /// Takes a write to the stage; `false` when there's no room for it.
    pub fn take_staged(&mut self, batch: &Batch) -> bool {
        if !self.has_room(batch) {
            return false;
        }
        apply(&mut self.stage, batch);
        true
    }

    /// Makes the stage the state.
    pub fn promote(&mut self) {
        let stage = std::mem::take(&mut self.stage);
        self.take_pending(Pending::Promotion(Box::new(stage)));
    }

    fn take_pending(&mut self, write: Pending) {
        let change = write.apply(&mut self.current);
        self.bytes = self.bytes.saturating_add_signed(change);
        self.pending.push(write);
    }

    fn has_room(&self, batch: &Batch) -> bool {
        let grown: u64 = batch.0.iter().map(write_bytes).sum();
        // A write needs room before an older record makes any, as on a disk that is appended to.
        self.faults
            .capacity
            .is_none_or(|capacity| self.bytes + grown <= capacity)
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
fn promote(spaces: &mut Spaces, stage: &Spaces) -> i64 {
    let mut change = 0;
    for space in Space::STATE {
        let (old, new) = (&mut spaces[space.number()], &stage[space.number()]);
        change += bytes_of(new).cast_signed() - bytes_of(old).cast_signed();
        *old = new.clone();
    }
    change
}

/// Gives by how many bytes `spaces` grew.
fn apply(spaces: &mut Spaces, batch: &Batch) -> i64 {
    let mut change = 0;
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
