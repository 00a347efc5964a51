//! The story of a world, told from both sides: the user waits for conditions, the world outside makes the faults.

use std::sync::{Arc, Mutex, PoisonError};

/// Where the story is. The user moves on to the fault phases, the world answers by making the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Phase {
    /// The cluster comes up, the Deployment becomes ready.
    #[default]
    Starting,
    /// The store's leader and an API server crash; the user scales up meanwhile.
    StoreAndApiDown,
    /// A scheduler and a controller manager crash; the user scales up again.
    LeadersDown,
    /// Everything is back; the end state is judged.
    Healed,
    Done,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Observed by the user, crashed by the world.
    store_leader: Option<String>,
    /// No host is down.
    all_up: bool,
}

/// The blackboard between the simulated user and the world outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story(Arc<Mutex<State>>);

impl Story {
    pub(crate) fn phase(&self) -> Phase {
        self.with(|state| state.phase)
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.with(|state| state.phase = phase);
    }

    pub(crate) fn name_store_leader(&self, leader: String) {
        self.with(|state| state.store_leader = Some(leader));
    }

    pub(crate) fn store_leader(&self) -> Option<String> {
        self.with(|state| state.store_leader.clone())
    }

    pub(crate) fn report_up(&self, all_up: bool) {
        self.with(|state| state.all_up = all_up);
    }

    pub(crate) fn all_up(&self) -> bool {
        self.with(|state| state.all_up)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
