//! The real components over a simulated network, clock, disk, randomness and container runtime: whole clusters
//! in every topology. The store alone has cheaper worlds of its own in `chaos-store`, whose faults, recorders and
//! runner serve here too.
//!
//! Users, observer and invariants know nothing of the simulation: `chaos-processes` puts them before clusters of real
//! processes.
//!
//! One seed decides everything; a world runs in a process of its own, because tokio's task ids, which decide the
//! order of drops at a crash, are one for all worlds of a process.
//!
//! Simulated clusters speak plain TCP and know each other by static tokens: what TLS sends depends on the
//! operating system's randomness.

mod failover;
mod hosts;
mod identities;
pub mod invariants;
pub mod observer;
mod options;
mod remains;
mod topology;
pub mod users;
mod world;

pub use options::{Options, Workload};
pub use topology::{Machine, Role, Topology, with_role};
pub use world::{Report, run};
