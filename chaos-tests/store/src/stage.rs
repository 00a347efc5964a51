//! How far a world is: what the world outside and the clients in it tell each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Moves forward only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// Clients work, faults happen.
    #[default]
    Trouble,
    /// The last fault has healed; clients still work.
    Healed,
    /// Clients stop; what is unfinished must become finished.
    Quiet,
    /// Everything was looked at.
    Done,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    /// What the world is for has come up; until then nothing goes wrong.
    up: bool,
    leader: Option<&'static str>,
    /// Clients that may still ask for something.
    at_work: usize,
    /// The revision that each recorder has reached.
    recorded: BTreeMap<&'static str, i64>,
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<State>>);

impl Board {
    pub fn stage(&self) -> Stage {
        self.with(|state| state.stage)
    }

    pub fn enter(&self, stage: Stage) {
        self.with(|state| state.stage = state.stage.max(stage));
    }

    /// Whether clients still work.
    pub fn working(&self) -> bool {
        self.stage() < Stage::Quiet
    }

    /// Runs `client`, which is at work from this call on until it ends: what it asks last may come long after
    /// the world was to be quiet.
    pub fn employ<F: Future<Output = ()>>(&self, client: F) -> impl Future<Output = ()> + use<F> {
        self.with(|state| state.at_work += 1);
        let board = self.clone();
        async move {
            client.await;
            board.with(|state| state.at_work -= 1);
        }
    }

    /// How many of those have not ended.
    pub fn at_work(&self) -> usize {
        self.with(|state| state.at_work)
    }

    /// From now on things go wrong.
    pub fn come_up(&self) {
        self.with(|state| state.up = true);
    }

    pub fn is_up(&self) -> bool {
        self.with(|state| state.up)
    }

    pub fn name_leader(&self, leader: Option<&'static str>) {
        self.with(|state| state.leader = leader);
    }

    /// The leader as last seen.
    pub fn leader(&self) -> Option<&'static str> {
        self.with(|state| state.leader)
    }

    pub fn recorded(&self, member: &'static str, revision: i64) {
        self.with(|state| {
            let reached = state.recorded.entry(member).or_insert(0);
            *reached = (*reached).max(revision);
        });
    }

    /// What every recorder has reached, of so many: up to here the past isn't needed any more.
    pub fn all_recorded(&self, recorders: usize) -> i64 {
        self.with(|state| {
            if state.recorded.len() < recorders {
                return 0;
            }
            state.recorded.values().copied().min().unwrap_or(0)
        })
    }

    /// What the recorder of `member` has reached.
    pub fn recorded_of(&self, member: &str) -> i64 {
        self.with(|state| state.recorded.get(member).copied().unwrap_or(0))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
