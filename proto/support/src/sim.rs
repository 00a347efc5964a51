//! The seams' simulated side: turmoil TCP, simulated wall time, and a trace that proves determinism.
//!
//! Rules that keep one seed equal to one trace:
//! - tokio must be built with `tokio_unstable`, or `select!` and wake-up order draw from the operating
//!   system;
//! - one simulation a process: tokio's task ids are process-wide and decide drop order at a crash;
//! - bytes on the wire must not depend on the operating system's randomness, so simulated clusters
//!   speak plain TCP and tests of TLS stay outside.

#[cfg(not(tokio_unstable))]
compile_error!("deterministic simulation needs `--cfg tokio_unstable` (see .cargo/config.toml)");

mod clock;
mod network;
mod trace;

pub use clock::{SimClock, Skew};
pub use network::SimNetwork;
pub use trace::{Trace, TraceSummary};

use crate::{Env, Random, Sabotage};
use std::sync::Arc;

/// The environment of one simulated process. `seed` decides all its randomness: derive it from the
/// world's seed, the host and the number of its restarts.
pub fn sim_env(seed: u64, trace: &Trace) -> Env {
    Env {
        net: Arc::new(SimNetwork::new(trace.clone())),
        random: Random::seeded(seed),
        clock: Arc::new(SimClock::default()),
        sabotage: Sabotage::NONE,
    }
}
