//! A member of the store: raft between members, etcd v3 for clients.
//!
//! Invariants:
//! - A write is acknowledged after a quorum has it on disk and this member has applied it.
//! - A linearizable read is answered from state at least as new as when it was asked.
//! - All sockets, time and randomness come from [`support::Env`]; the disk is an engine behind a trait. So
//!   a member runs unchanged inside a simulation.

#[cfg(not(tokio_unstable))]
compile_error!(
    "build with --cfg tokio_unstable (see .cargo/config.toml): a simulation is not repeatable without it"
);

mod alarm_board;
mod applied_index;
mod applied_state;
mod aside;
mod auth;
mod authority;
mod auto_compaction;
mod awaited_commands;
mod batches;
mod checkpoints;
mod compactor;
mod config;
mod consensus;
mod corruption;
mod descriptors;
mod duties;
mod forwarder;
mod gateway;
mod grpc_server;
mod http;
mod identity;
mod late_service;
mod leadership;
mod lessor;
mod local;
mod local_proposals;
mod member;
mod membership;
mod metrics;
mod peers;
mod quota;
mod raft;
mod read_barrier;
mod reclaimer;
mod restored;
mod services;
mod status;
mod store;
mod upkeep;
mod watch;

pub use config::{
    AutoCompaction, ClientListener, ClusterPeer, CompactionPace, ConnectionLimits, CorruptCheck, DataDir,
    InitialState, ListenerSecurity, MemberConfig, MetricsListener, PeerListener, PeerTls, Serves,
};
pub use identity::{cluster_id, member_id};
pub use member::{Member, MemberError, worker_threads};
pub use restored::{FoundError, Founded, found_restored_cluster};
pub use services::ETCD_VERSION;
