//! Disks that fail: at every single call of an engine, under a killed process, with damaged files.
//!
//! After each failure the store is opened again and held to what it promised: everything acknowledged is
//! there, what is there is a prefix of what was done, without a hole.

// The children here are processes in real time.
#![allow(clippy::disallowed_methods)]

#[path = "failpoints/damage.rs"]
mod damage;
#[path = "failpoints/faulty.rs"]
mod faulty;
#[path = "failpoints/kill.rs"]
mod kill;
#[path = "failpoints/sweep.rs"]
mod sweep;
#[path = "failpoints/workload.rs"]
mod workload;
