//! Everything of the outside world that a component may touch, as one value.

use crate::{Network, Random, Sabotage, SystemClock, TokioNetwork, WallClock};
use std::sync::Arc;

/// Seams of a component: network, randomness, wall clock. Cheap to clone; handed to every constructor.
#[derive(Clone)]
pub struct Env {
    pub net: Arc<dyn Network>,
    pub random: Random,
    pub clock: Arc<dyn WallClock>,
    /// Always [`Sabotage::NONE`] but in a simulation that wants to find a bug.
    pub sabotage: Sabotage,
}

impl Env {
    /// Real sockets, a generator seeded by the operating system, the system clock.
    pub fn production() -> Self {
        Self {
            net: Arc::new(TokioNetwork),
            random: Random::from_os(),
            clock: Arc::new(SystemClock),
            sabotage: Sabotage::NONE,
        }
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}
