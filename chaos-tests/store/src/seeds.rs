//! Where the randomness of a world comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use support::sim::{SimClock, Skew, Trace, sim_env};
use support::{Env, Random, Sabotage};

/// Gives every boot of every host randomness of its own, all of it decided by the world's seed.
pub struct Seeds {
    pub random: Random,
    pub trace: Trace,
    sabotage: Sabotage,
}

impl Seeds {
    /// Of a world with this seed, and this known bug in its hosts.
    pub fn new(seed: u64, sabotage: Option<&'static str>) -> Self {
        Self {
            random: Random::seeded(seed),
            trace: Trace::default(),
            sabotage: sabotage.map_or(Sabotage::NONE, Sabotage::with),
        }
    }

    /// For something that boots once, and has no bug.
    pub fn env(&self) -> Env {
        sim_env(self.random.u64(), &self.trace)
    }

    /// Environments of one host with this clock, a new one at each boot.
    pub fn boots(&self, skew: &Skew) -> impl Fn() -> Env + 'static {
        let clock = SimClock::of(skew);
        let (seed, trace, boots) = (self.random.u64(), self.trace.clone(), AtomicU64::new(0));
        let sabotage = self.sabotage;
        move || Env {
            sabotage,
            clock: Arc::new(clock.clone()),
            ..sim_env(seed.wrapping_add(boots.fetch_add(1, Ordering::Relaxed)), &trace)
        }
    }
}
