//! Backups to and from Debian's etcd, and between members of ours.
// These stores run in real time, outside of any simulation.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "backups/content.rs"]
mod content;
#[path = "backups/from_etcd.rs"]
mod from_etcd;
#[path = "backups/ours.rs"]
mod ours;
#[path = "backups/stores.rs"]
mod stores;
#[path = "backups/to_etcd.rs"]
mod to_etcd;
