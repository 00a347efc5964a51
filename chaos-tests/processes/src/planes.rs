//! Whole control planes as real `trireme` processes, machine by machine, in every topology.
//!
//! Users, watchers, observer and invariants are those of the simulated clusters; what is added here is what only real
//! processes can show: acknowledged writes held against the store's history, how long nobody acts after each fault,
//! and what stock `kubectl` says meanwhile.
//!
//! Nodes are agents inside this program, with a runtime that only pretends: the faults are for the machines of the
//! control plane.

mod acting;
mod balancer;
mod beats;
mod figures;
mod judgement;
mod keys;
mod kubectl;
mod machines;
mod nodes;
mod prepare;
mod world;
mod writers;

pub use world::{Plan, Report, run};

/// Where beats happen, which the observer doesn't look at.
const NAMESPACE: &str = "beats";
