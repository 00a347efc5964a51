//! A wanted change of the membership, as a value.

use crate::raft::{PeerNode, node_in, node_out};
use proto::raftpb::{ChangeRequest, change_request};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The id is chosen by the member that was asked, so that asking again adds nobody twice.
    Add {
        id: u64,
        peer_urls: Vec<String>,
        learner: bool,
    },
    Remove {
        id: u64,
    },
    Update {
        id: u64,
        peer_urls: Vec<String>,
    },
    Promote {
        id: u64,
    },
}

impl Change {
    /// For the leader; `repeated`: an earlier request may have been heard.
    pub fn request(&self, repeated: bool) -> ChangeRequest {
        let node = |peer_urls: &Vec<String>, learner| PeerNode {
            peer_urls: peer_urls.clone(),
            learner,
            ..PeerNode::default()
        };
        ChangeRequest {
            change: Some(match self {
                Self::Add {
                    id,
                    peer_urls,
                    learner,
                } => change_request::Change::Add(node_out(*id, &node(peer_urls, *learner))),
                Self::Remove { id } => change_request::Change::Remove(*id),
                Self::Update { id, peer_urls } => {
                    change_request::Change::Update(node_out(*id, &node(peer_urls, false)))
                }
                Self::Promote { id } => change_request::Change::Promote(*id),
            }),
            repeated,
        }
    }

    /// What another member asks for; `None` when it is nothing that this release knows.
    pub fn requested(request: ChangeRequest) -> Option<Self> {
        Some(match request.change? {
            change_request::Change::Add(member) => {
                let (id, node) = node_in(member);
                Self::Add {
                    id,
                    peer_urls: node.peer_urls,
                    learner: node.learner,
                }
            }
            change_request::Change::Remove(id) => Self::Remove { id },
            change_request::Change::Update(member) => {
                let (id, node) = node_in(member);
                Self::Update {
                    id,
                    peer_urls: node.peer_urls,
                }
            }
            change_request::Change::Promote(id) => Self::Promote { id },
        })
    }
}
