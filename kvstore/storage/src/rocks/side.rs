//! The two sides of the state: which column families hold it, and which are the stage.

use kvstore_core::Space;
use std::sync::atomic::{AtomicBool, Ordering};

/// One of two sets of column families for the spaces of the state. Other spaces have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side(bool);

impl Side {
    pub const FIRST: Self = Self(false);

    pub const fn other(self) -> Self {
        Self(!self.0)
    }

    /// As it is kept.
    pub fn record(self) -> Vec<u8> {
        vec![u8::from(self.0)]
    }

    pub fn parse(record: &[u8]) -> Option<Self> {
        match record {
            [0] => Some(Self(false)),
            [1] => Some(Self(true)),
            _ => None,
        }
    }

    /// The column family of `space` on this side.
    pub const fn family(self, space: Space) -> &'static str {
        if !self.0 {
            return space.name();
        }
        match space {
            Space::Meta => "meta.2",
            Space::History => "history.2",
            Space::Keys => "keys.2",
            Space::Live => "live.2",
            Space::Counts => "counts.2",
            Space::Leases => "leases.2",
            Space::LeaseKeys => "lease_keys.2",
            Space::Log | Space::RaftState => space.name(),
        }
    }
}

/// All column families, and the space of each.
pub fn families() -> Vec<(Space, &'static str)> {
    let first = Space::ALL.map(|space| (space, Side::FIRST.family(space)));
    let second = Space::STATE.map(|space| (space, Side::FIRST.other().family(space)));
    first.into_iter().chain(second).collect()
}

/// The side that is the state now.
#[derive(Default)]
pub struct Current(AtomicBool);

impl Current {
    pub fn get(&self) -> Side {
        Side(self.0.load(Ordering::SeqCst))
    }

    pub fn set(&self, side: Side) {
        self.0.store(side.0, Ordering::SeqCst);
    }
}
