//! The real components over a simulated network, clock, disk, randomness and container runtime.
//!
//! One world: three store members, two API servers, two schedulers, two controller managers, two node agents.
//! One seed decides everything; a world runs in a process of its own, because tokio's task ids, which decide the
//! order of drops at a crash, are one for all worlds of a process.
//!
//! Simulated clusters speak plain TCP and know each other by static tokens: what TLS sends depends on the operating
//! system's randomness.

mod hosts;
mod identities;
mod logs;
mod scenario;
mod user;
mod world;

pub use logs::log_to_stderr;
pub use world::{Options, Report, Violation, run};
