//! openraft, kept behind our own log records and messages: its types go no further than this module and
//! [`crate::consensus`].

mod append_stream;
mod convert;
mod log_cache;
mod log_store;
mod network;
mod service;
mod snapshot_receiver;
mod snapshot_sender;
mod state_machine;
mod sync_queue;
mod types;

pub use convert::{log_id_out, membership_in, node_in, node_out};
pub use log_store::LogStore;
pub use network::RaftNetwork;
pub use service::{RaftGate, RaftService};
pub use snapshot_receiver::ReceivedState;
pub use state_machine::StateMachine;
pub use sync_queue::SyncQueue;
pub use types::{CommandBytes, PeerNode, Raft, Runtime, TypeConfig};
