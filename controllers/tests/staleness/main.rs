//! Whole controller managers on outdated views, through crashes between two writes, lost answers and cuts: two candidates
//! for one lease, at an API server in memory (see `test_api`). For each controller a plain promise that holds at every
//! write, and an end that is reached.
//!
//! A seed decides everything: `TRIREME_SEEDS=60..600` runs others than the first 60.

mod disruption;
mod endpoints;
mod expiry;
mod garbage;
mod namespaces;
mod nodes;
mod scene;
mod workloads;
