//! What goes wrong for one process.

use std::time::Duration;
use support::Random;

/// Chances are one in so many; zero is never.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// A request and its answer each take up to this long. Shorter than the time by which an election lets a lease
    /// outlive its leader: what is under way then lands before the next leader looks.
    pub latency: Duration,
    /// Requests that never arrive.
    pub lost_requests: u64,
    /// Answers that never arrive: nobody knows whether it was done.
    pub lost_answers: u64,
    /// Watches that are slow as long as they last: each of their deliveries waits, and some events longer.
    pub slow: u64,
    /// The longest such wait.
    pub stall: Duration,
    /// Deliveries instead of which the watch ends, and its client lists anew: it misses what was in between.
    pub gone: u64,
    /// The process crashes before or after a write, at the latest after so many.
    pub crashes: u64,
    /// Writes at which the process is cut off from the server, for up to [`Faults::CUT`].
    pub cuts: u64,
}

impl Faults {
    pub const CUT: Duration = Duration::from_secs(4);

    /// No faults: only the time that things take.
    pub const NONE: Self = Self {
        latency: Duration::from_millis(5),
        lost_requests: 0,
        lost_answers: 0,
        slow: 0,
        stall: Duration::ZERO,
        gone: 0,
        crashes: 0,
        cuts: 0,
    };

    /// A long and quiet life, in which some watches lag by minutes.
    pub fn lagging(random: &Random) -> Self {
        Self {
            slow: 2,
            stall: Duration::from_secs(random.below(40..120)),
            lost_answers: random.below(3..10),
            ..Self::NONE
        }
    }

    /// Some kinds of faults, and how often, for one life of a process: a world in which everything goes wrong all the
    /// time gets nowhere, and one in which each thing goes wrong sometimes misses what needs two of a kind.
    pub fn drawn(random: &Random) -> Self {
        let some = |from: u64, to: u64| match random.below(0..2) {
            0 => 0,
            _ => random.below(from..to),
        };
        Self {
            latency: Duration::from_millis(random.below(1..60)),
            lost_requests: some(10, 40),
            lost_answers: some(3, 20),
            slow: random.below(2..5),
            stall: Duration::from_millis(random.below(200..15_000)),
            gone: some(5, 40),
            crashes: match random.below(0..5) {
                0 => random.below(20..60),
                _ => random.below(2..12),
            },
            cuts: some(6, 30),
        }
    }
}
