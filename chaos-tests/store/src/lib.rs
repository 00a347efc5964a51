//! The store alone in a deterministic world: one, three or five real members over a simulated network, clock,
//! disk and randomness; clients whose every request is recorded; oracles that judge the record.
//!
//! One seed decides everything. A world runs in a process of its own, because tokio's task ids, which decide
//! the order of drops at a crash, are one for all worlds of a process.
//!
//! The way through: [`Options`] (what a seed decides) → `world` (builds and steps) → `workload` and `faults`
//! (what happens) → `observer` (liveness) → `oracles` (safety) → [`Report`].

pub mod chronicle;
pub mod client;
mod failover;
mod fault_kind;
mod faults;
pub mod history;
mod incident;
mod links;
mod logs;
mod members;
mod model;
pub mod observer;
mod options;
mod oracles;
mod outcome;
pub mod program;
pub mod runner;
pub mod sabotage;
mod seeds;
mod simulation;
pub mod stage;
mod trouble;
pub mod workload;
mod world;

pub use failover::{Failovers, LeaderHit, is_acknowledged_write, median_and_most};
pub use fault_kind::FaultKind;
pub use faults::{Faults, Targets};
pub use incident::Incident;
pub use links::{Break, Links};
pub use logs::log_to_stderr;
pub use members::{Exit, Exits, NAMES as MEMBER_NAMES, Replacements, Terminator};
pub use options::{Options, Workload};
pub use oracles::judge;
pub use outcome::{Class, Ending, Violation, verdict};
pub use program::{Common, Program, Smaller, Told, World};
pub use seeds::Seeds;
pub use simulation::simulation;
pub use trouble::{Trouble, draw, one_of, parse_numbers};
pub use world::{Report, run};
