//! Between openraft's values and our messages and records.

use super::types::{CommandBytes, PeerNode, TypeConfig};
use openraft::alias::{EntryOf, LogIdOf, StoredMembershipOf, VoteOf};
use openraft::{EntryPayload, Membership};
use proto::raftpb;
use std::collections::{BTreeMap, BTreeSet};

pub fn log_id_out(id: &LogIdOf<TypeConfig>) -> raftpb::LogId {
    raftpb::LogId {
        term: **id.committed_leader_id(),
        index: id.index,
    }
}

pub fn log_id_in(id: raftpb::LogId) -> LogIdOf<TypeConfig> {
    LogIdOf::<TypeConfig>::new_term_index(id.term, id.index)
}

pub fn vote_out(vote: &VoteOf<TypeConfig>) -> raftpb::Vote {
    raftpb::Vote {
        leader: Some(raftpb::LeaderId {
            term: vote.leader_id.term,
            node: vote.leader_id.voted_for,
        }),
        committed: vote.committed,
    }
}

pub fn vote_in(vote: Option<raftpb::Vote>) -> VoteOf<TypeConfig> {
    let vote = vote.unwrap_or_default();
    let leader = vote.leader.unwrap_or_default();
    if vote.committed {
        VoteOf::<TypeConfig>::new_committed(leader.term, leader.node)
    } else {
        VoteOf::<TypeConfig>::new(leader.term, leader.node)
    }
}

pub fn entry_out(entry: &EntryOf<TypeConfig>) -> raftpb::Entry {
    use raftpb::entry::Payload;
    raftpb::Entry {
        id: Some(log_id_out(&entry.log_id)),
        payload: Some(match &entry.payload {
            EntryPayload::Blank => Payload::Blank(raftpb::Blank {}),
            EntryPayload::Normal(command) => Payload::Command(command.0.clone()),
            EntryPayload::Membership(membership) => Payload::Membership(membership_out(membership)),
        }),
    }
}

pub fn entry_in(entry: raftpb::Entry) -> EntryOf<TypeConfig> {
    use raftpb::entry::Payload;
    EntryOf::<TypeConfig> {
        log_id: log_id_in(entry.id.unwrap_or_default()),
        payload: match entry.payload {
            None | Some(Payload::Blank(_)) => EntryPayload::Blank,
            Some(Payload::Command(bytes)) => EntryPayload::Normal(CommandBytes(bytes)),
            Some(Payload::Membership(membership)) => EntryPayload::Membership(membership_in(membership)),
        },
    }
}

pub fn membership_out(membership: &Membership<u64, PeerNode>) -> raftpb::Membership {
    raftpb::Membership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|voters| raftpb::Voters {
                ids: voters.iter().copied().collect(),
            })
            .collect(),
        members: membership.nodes().map(|(id, node)| node_out(*id, node)).collect(),
    }
}

pub fn node_out(id: u64, node: &PeerNode) -> raftpb::Member {
    raftpb::Member {
        id,
        name: node.name.clone(),
        peer_address: String::new(),
        peer_urls: node.peer_urls.clone(),
        learner: node.learner,
        incarnation: node.incarnation,
    }
}

pub fn node_in(member: raftpb::Member) -> (u64, PeerNode) {
    let mut peer_urls = member.peer_urls;
    if peer_urls.is_empty() && !member.peer_address.is_empty() {
        peer_urls.push(format!("http://{}", member.peer_address));
    }
    let node = PeerNode {
        name: member.name,
        peer_urls,
        learner: member.learner,
        incarnation: member.incarnation,
    };
    (member.id, node)
}

pub fn membership_in(membership: raftpb::Membership) -> Membership<u64, PeerNode> {
    let configs = membership
        .configs
        .into_iter()
        .map(|voters| voters.ids.into_iter().collect::<BTreeSet<u64>>())
        .collect();
    let nodes: BTreeMap<u64, PeerNode> = membership.members.into_iter().map(node_in).collect();
    // What was a membership once is one again: nothing here can make it invalid, and an invalid one from
    // a damaged peer must not stop this member.
    Membership::new(configs, nodes).unwrap_or_else(|error| {
        tracing::error!(%error, "a membership that can't be");
        Membership::default()
    })
}

pub fn stored_membership_out(stored: &StoredMembershipOf<TypeConfig>) -> raftpb::StoredMembership {
    raftpb::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_out),
        membership: Some(membership_out(stored.membership())),
    }
}

pub fn stored_membership_in(stored: Option<raftpb::StoredMembership>) -> StoredMembershipOf<TypeConfig> {
    match stored {
        None => StoredMembershipOf::<TypeConfig>::default(),
        Some(stored) => StoredMembershipOf::<TypeConfig>::new(
            stored.log_id.map(log_id_in),
            membership_in(stored.membership.unwrap_or_default()),
        ),
    }
}
