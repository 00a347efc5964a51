//! The etcd v3 store as the API server uses it: guarded writes, pinned reads, watches.
//!
//! Invariants:
//! - Every write is one `Txn` guarded by the key's `mod_revision`; nothing is written unguarded.
//! - A value never contains `metadata.resourceVersion`: readers add the key's `mod_revision`.
//! - Only calls that stock kube-apiserver makes are used: Range, Txn, Compact, Watch, LeaseGrant, Status.
//!
//! Follows staging/src/k8s.io/apiserver/pkg/storage/etcd3 (Kubernetes 1.36).

mod client;
mod codec;
mod compaction;
mod endpoints;
mod error;
mod event_lease;
mod watch;

pub(crate) use client::{Put, StoreClient, Stored};
pub(crate) use codec::Codec;
pub(crate) use compaction::run_compaction;
pub(crate) use error::StoreError;
pub(crate) use event_lease::EventLeases;
pub(crate) use watch::{StoreEvent, StoreWatch, WatchMessage};
