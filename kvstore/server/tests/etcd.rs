//! Members on loopback, as clients of etcd see them.
#![allow(clippy::unwrap_used)]

#[path = "etcd/cluster.rs"]
mod cluster;
#[path = "etcd/differential.rs"]
mod differential;
#[path = "etcd/etcdctl.rs"]
mod etcdctl;
#[path = "etcd/harness.rs"]
mod harness;
#[path = "etcd/watching.rs"]
mod watching;
