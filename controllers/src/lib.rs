//! The controllers: what keeps the observed cluster equal to the wished one.
//!
//! Each controller is a module with a pure plan (observed objects in, [`Action`]s out) and a few lines that say what
//! it watches. One [`runner`](crate::ControllerManager) keeps the caches, orders the work and executes the plans.
//!
//! Invariants:
//! - Plans are deterministic: no IO, no clock (the time is an input), no hash-map order.
//! - Every write of an existing object carries the version or uid it was planned for.
//! - Only the elected leader writes; see `kubeclient::LeaderElection`.
//!
//! Follows `cmd/kube-controller-manager` and `pkg/controller` of Kubernetes 1.36.

mod action;
mod adoption;
mod clusterrole_aggregation;
mod config;
mod csr;
mod daemonset;
mod deployment;
mod discovery;
mod disruption;
mod endpoints;
mod garbage_collector;
mod history;
mod job;
mod manager;
mod namespace;
mod node_affinity;
mod node_ipam;
mod node_lifecycle;
mod object;
mod pod_gc;
mod pod_state;
mod pod_template;
mod proportion;
mod registry;
mod replicaset;
mod root_ca;
mod runner;
mod selector;
mod serviceaccount;
#[cfg(test)]
mod staleness;
mod statefulset;
mod taint_eviction;
#[cfg(test)]
mod testing;
mod token_cleaner;

pub use action::{Action, Plan};
pub use config::{Config, NodeConfig, SigningConfig};
pub use manager::ControllerManager;
