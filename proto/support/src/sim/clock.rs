//! Wall-clock time of the simulated world, and of machines whose clock is wrong.

use crate::WallClock;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// 2026-01-01T00:00:00Z: every simulated world begins here.
const EPOCH_SECONDS: i64 = 1_767_225_600;

/// How far a machine's clock is ahead of the world's (or behind it), in milliseconds. Clones are the same
/// machine's.
#[derive(Debug, Clone, Default)]
pub struct Skew(Arc<AtomicI64>);

impl Skew {
    /// From now on the clock is so far ahead (negative: behind).
    pub fn set(&self, ahead: SignedDuration) {
        let millis = i64::try_from(ahead.as_millis()).unwrap_or(0);
        self.0.store(millis, Ordering::Relaxed);
    }

    fn get(&self) -> SignedDuration {
        SignedDuration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// The simulation's elapsed time after a fixed epoch, and the machine's own mistake.
#[derive(Debug, Clone, Default)]
pub struct SimClock {
    skew: Skew,
}

impl SimClock {
    /// The clock of a machine.
    pub fn of(skew: &Skew) -> Self {
        Self { skew: skew.clone() }
    }
}

impl WallClock for SimClock {
    fn now(&self) -> Timestamp {
        let epoch = Timestamp::from_second(EPOCH_SECONDS).expect("a constant within range");
        // Outside of the simulation's step there is no elapsed time: the world is being built.
        epoch + turmoil::sim_elapsed().unwrap_or(Duration::ZERO) + self.skew.get()
    }
}
