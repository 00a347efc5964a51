//! Members on loopback, as clients of etcd see them.
// These members run in real time, outside of any simulation.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "etcd/cluster.rs"]
mod cluster;
#[path = "etcd/corruption.rs"]
mod corruption;
#[path = "etcd/differential.rs"]
mod differential;
#[path = "etcd/etcdctl.rs"]
mod etcdctl;
#[path = "etcd/harness.rs"]
mod harness;
#[path = "etcd/upkeep.rs"]
mod upkeep;
#[path = "etcd/watching.rs"]
mod watching;
