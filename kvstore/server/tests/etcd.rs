//! Members on loopback, as clients of etcd see them.
// These members run in real time, outside of any simulation.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "etcd/auth.rs"]
mod auth;
#[path = "etcd/cluster.rs"]
mod cluster;
#[path = "etcd/contests.rs"]
mod contests;
#[path = "etcd/corruption.rs"]
mod corruption;
#[path = "etcd/differential.rs"]
mod differential;
#[path = "etcd/endpoints.rs"]
mod endpoints;
#[path = "etcd/etcdctl.rs"]
mod etcdctl;
#[path = "etcd/failovers.rs"]
mod failovers;
#[path = "etcd/gateway.rs"]
mod gateway;
#[path = "etcd/gateway_differential.rs"]
mod gateway_differential;
#[path = "etcd/harness.rs"]
mod harness;
#[path = "etcd/http.rs"]
mod http_client;
#[path = "etcd/linearizability.rs"]
mod linearizability;
#[path = "etcd/membership.rs"]
mod membership;
#[path = "etcd/range_stream.rs"]
mod range_stream;
#[path = "etcd/regressions.rs"]
mod regressions;
#[path = "etcd/trio.rs"]
mod trio;
#[path = "etcd/upkeep.rs"]
mod upkeep;
#[path = "etcd/watching.rs"]
mod watching;
