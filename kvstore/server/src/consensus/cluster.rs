//! What raft knows of the members, and changes of them. Only the leader's answers are of use where it is
//! said.

use super::{Consensus, LEADER_RETRY};
use crate::membership::Roster;
use crate::raft::PeerNode;
use crate::status;
use futures::FutureExt as _;
use openraft::ChangeMembers;
use openraft::Instant as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use proto::raftpb::members_client::MembersClient;
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Status;
use tonic::transport::Channel;

/// How far a member has come, as the leader knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last index of its log that is known to equal the leader's; `None` when it never answered this
    /// leader.
    pub matching: Option<u64>,
    /// How long it hasn't answered; `None`: never has.
    pub silence: Option<Duration>,
}

/// The membership in force, which may not be committed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub leads: bool,
    pub last_index: u64,
    /// A change of the voters has been begun and not finished.
    pub is_joint: bool,
    pub is_committed: bool,
    pub nodes: BTreeMap<u64, PeerNode>,
    pub voters: Vec<u64>,
    /// Of the others, if this member leads.
    pub progress: BTreeMap<u64, Progress>,
}

impl Consensus {
    /// The members that this member has applied.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn roster(&self) -> Result<Roster, Status> {
        Roster::read(&*self.store.view()).map_err(|error| status::unreadable(&error))
    }

    /// Whether a member stays without a vote until it is promoted.
    pub fn is_learner(&self, id: u64) -> bool {
        self.with_metrics(|metrics| {
            let membership = metrics.membership_config.membership();
            membership.get_node(&id).is_some_and(|node| node.learner)
        })
    }

    pub fn standing(&self) -> Standing {
        self.with_metrics(|metrics| {
            let membership = metrics.membership_config.membership();
            let silences: BTreeMap<u64, Duration> = metrics
                .heartbeat
                .iter()
                .flatten()
                .filter_map(|(id, at)| Some((*id, at.as_ref()?.elapsed())))
                .collect();
            let progress = metrics
                .replication
                .iter()
                .flatten()
                .map(|(id, matching)| {
                    let progress = Progress {
                        matching: matching.as_ref().map(|id| id.index),
                        silence: silences.get(id).copied(),
                    };
                    (*id, progress)
                })
                .collect();
            Standing {
                leads: metrics.state == openraft::ServerState::Leader,
                last_index: metrics.last_log_index.unwrap_or(0),
                is_joint: membership.get_joint_config().len() > 1,
                is_committed: metrics.committed_membership_config == metrics.membership_config,
                nodes: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
                voters: membership.voter_ids().collect(),
                progress,
            }
        })
    }

    /// Takes up where the members are.
    pub fn learn_addresses(&self) {
        for (id, node) in self.members() {
            self.peers.learn(id, &node.peer_urls);
        }
    }

    /// A connection for questions about the membership.
    pub fn membership_client(&self, id: u64) -> MembersClient<Channel> {
        let node = self.members().remove(&id).unwrap_or_default();
        self.peers.membership(id, &node.peer_urls)
    }

    /// Changes the members through raft, if this member leads; gives the index at which it is done.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`: it doesn't lead (any more). What was begun is finished by the next leader.
    pub async fn change_members(&self, changes: ChangeMembers<u64, PeerNode>) -> Result<u64, Status> {
        loop {
            let change = self.raft.change_membership(changes.clone(), false);
            // Boxed: what is inside is deep, and deeper in what calls this.
            match self.seeded(change).boxed().await {
                Ok(done) => return Ok(done.log_id.index),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                    if !self.view().is_leader {
                        return Err(status::not_leader());
                    }
                }
                // The one before is still on its way to a quorum.
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) => {}
                Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => {
                    return Err(status::not_leader());
                }
                Err(RaftError::APIError(error)) => return Err(Status::internal(error.to_string())),
                Err(RaftError::Fatal(_)) => return Err(status::stopped()),
            }
            tokio::time::sleep(LEADER_RETRY).await;
        }
    }

    /// Bounds a request of a client.
    pub async fn bounded<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        self.within(work).await
    }

    /// Waits until this member has applied the entry at `index`.
    pub async fn applied(&self, index: u64) -> Result<(), Status> {
        self.store.applied.wait(index).await;
        Ok(())
    }
}
