//! The types that openraft is run with.

use super::state_machine::StateMachine;
use crate::store::Reply;
use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use std::fmt;

/// Election timeouts come from a seed, so that a simulation repeats.
pub type Runtime = DeterministicRng<TokioRuntime>;

openraft::declare_raft_types!(
    /// Standard raft leader ids: one leader a term, so that etcd's `raft_term` means what it says.
    pub TypeConfig:
        D = CommandBytes,
        R = Reply,
        NodeId = u64,
        Node = PeerNode,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = Runtime,
);

pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// An encoded command; shared, not copied, between the log, the peers and the state machine.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandBytes(pub Bytes);

impl fmt::Debug for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A member as the membership names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerNode {
    pub name: String,
    /// Sorted.
    pub peer_urls: Vec<String>,
    /// Stays without a vote until it is promoted. A node that neither votes nor is a learner is to vote as
    /// soon as it has caught up.
    pub learner: bool,
    /// The data folder that holds the member; 0 for those that started the cluster.
    pub incarnation: u64,
}
