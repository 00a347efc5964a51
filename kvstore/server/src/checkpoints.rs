//! What this member held at the last checkpoints: places in the log at which all members hash their state.
//!
//! Whoever applies a checkpoint takes a view right then, before anything after it is applied. So members
//! that agree get the same hash, however far apart in time they come to it.

use crate::aside::{self, Aside};
use crate::store::Store;
use kvstore_core::{ReadError, STATE_HASH_DEFINITION, state_hash};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hashes kept for the leader to ask for.
const KEPT: usize = 4;

type Hash = Result<Option<u32>, ReadError>;

/// What is known of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// Its hash isn't there yet.
    Pending,
    Hash(u32),
    /// It never will be.
    Unknown,
}

enum Stage {
    Hashing(Aside<Hash>),
    Done(Option<u32>),
}

impl Stage {
    /// Takes up the hash, if it has come. Says whether it is still under way.
    fn is_hashing(&mut self) -> bool {
        let Self::Hashing(work) = self else { return false };
        match work.poll() {
            None => return true,
            Some(Ok(hash)) => *self = Self::Done(hash),
            Some(Err(error)) => {
                // The engine is poisoned by it; the member is about to stop.
                tracing::error!(%error, "hashing the state");
                *self = Self::Done(None);
            }
        }
        false
    }
}

/// The checkpoints of one member, by their index in the log.
#[derive(Default)]
pub struct Checkpoints {
    stages: Mutex<BTreeMap<u64, Stage>>,
}

impl Checkpoints {
    /// Takes a view of `store`, which has just applied the entry at `index`, and starts hashing it. Does
    /// nothing while another hash is under way: a member that lags so much is left out this time.
    pub fn take(&self, store: &Store, index: u64, definition: u32) {
        let mut stages = self.lock();
        let busy = stages.values_mut().any(Stage::is_hashing);
        if busy || definition != STATE_HASH_DEFINITION {
            tracing::info!(index, busy, definition, "passing over a checkpoint");
            return;
        }
        let work = aside::start(store, |view, on_slice| state_hash(view, on_slice));
        stages.insert(index, Stage::Hashing(work));
        while stages.len() > KEPT {
            stages.pop_first();
        }
    }

    /// What is known of the checkpoint at `index`, `applied` being the index of the last entry applied.
    pub fn look(&self, index: u64, applied: u64) -> Checkpoint {
        let mut stages = self.lock();
        let Some(stage) = stages.get_mut(&index) else {
            return if applied < index {
                Checkpoint::Pending
            } else {
                Checkpoint::Unknown
            };
        };
        if stage.is_hashing() {
            return Checkpoint::Pending;
        }
        match stage {
            Stage::Done(Some(hash)) => Checkpoint::Hash(*hash),
            _ => Checkpoint::Unknown,
        }
    }

    /// The state was replaced: what is being hashed is of no use.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Stage>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
