//! Real processes in network namespaces of their own, on disks of their own, under faults that the kernel brings about:
//! members of the store, or whole control planes. Clients, users, observers and oracles are those of the simulation.
//!
//! What a simulation can't show: that signals, sockets, files and the scheduler do as they are simulated. What
//! this can't do: repeat a run. A seed decides what is done and when, not what comes of it.
//!
//! The way through: [`Plan`] → [`run`] (starts, steps, heals) → [`places`] (namespaces, links, disks) and
//! [`processes`] → [`faults`] → the oracles of `chaos-store` → [`Report`] with [`figures`]. For control planes
//! [`planes`] has all of it in its own form.

pub mod faults;
pub mod figures;
pub mod members;
pub mod network;
pub mod places;
pub mod planes;
pub mod processes;
mod shell;
mod world;

pub use world::{Plan, Report, run};
