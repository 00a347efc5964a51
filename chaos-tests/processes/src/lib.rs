//! The store as real processes: members in network namespaces of their own, on disks of their own, under faults
//! that the kernel brings about; the clients, the observer and the oracles are those of the simulation.
//!
//! What a simulation can't show: that signals, sockets, files and the scheduler do as they are simulated. What
//! this can't do: repeat a run. A seed decides what is done and when, not what comes of it.
//!
//! The way through: [`Plan`] → [`run`] (starts, steps, heals) → [`places`] (namespaces, links, disks) and
//! [`members`] (processes) → `faults` → the oracles of `chaos-store` → [`Report`] with [`figures`].

pub mod faults;
pub mod figures;
pub mod members;
pub mod network;
pub mod places;
mod shell;
mod world;

pub use world::{Plan, Report, run};
