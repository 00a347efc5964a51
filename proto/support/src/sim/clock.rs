//! Wall-clock time of the simulated world.

use crate::WallClock;
use jiff::Timestamp;
use std::time::Duration;

/// 2026-01-01T00:00:00Z: every simulated world begins here.
const EPOCH_SECONDS: i64 = 1_767_225_600;

/// The simulation's elapsed time after a fixed epoch.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimClock;

impl WallClock for SimClock {
    fn now(&self) -> Timestamp {
        let epoch = Timestamp::from_second(EPOCH_SECONDS).expect("a constant within range");
        // Outside of the simulation's step there is no elapsed time: the world is being built.
        epoch + turmoil::sim_elapsed().unwrap_or(Duration::ZERO)
    }
}
