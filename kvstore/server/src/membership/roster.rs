//! Who the members are, as a member has applied it: what raft knows of them, and what they say themselves.

use crate::applied_state;
use crate::raft::{PeerNode, membership_in};
use kvstore_core::{MemberAttributes, Overlay, Read, ReadError, member_attributes, remove_member};
use proto::{etcdserverpb, raftpb};
use std::collections::{BTreeMap, BTreeSet};

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterMember {
    pub node: PeerNode,
    /// It counts in raft's quorum.
    pub votes: bool,
    /// What it has published about itself; empty before it was ever started.
    pub attributes: MemberAttributes,
}

impl RosterMember {
    pub fn is_started(&self) -> bool {
        !self.attributes.name.is_empty()
    }
}

/// All members by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    pub members: BTreeMap<u64, RosterMember>,
}

impl Roster {
    /// The members that `view` has applied.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn read(view: &dyn Read) -> Result<Self, ReadError> {
        let stored = applied_state::read(view)?.membership.unwrap_or_default();
        let membership = membership_in(stored.membership.unwrap_or_default());
        let mut published: BTreeMap<u64, MemberAttributes> = member_attributes(view)?.into_iter().collect();
        // Of two voter sets the later one is where things go.
        let voters = membership.get_joint_config().last().cloned().unwrap_or_default();
        let members = membership.nodes().map(|(id, node)| {
            let member = RosterMember {
                node: node.clone(),
                votes: voters.contains(id),
                attributes: published.remove(id).unwrap_or_default(),
            };
            (*id, member)
        });
        Ok(Self {
            members: members.collect(),
        })
    }

    /// The member that has exactly these peer URLs, which are sorted.
    pub fn find(&self, peer_urls: &[String]) -> Option<(u64, &RosterMember)> {
        self.members
            .iter()
            .find(|(_, member)| member.node.peer_urls == peer_urls)
            .map(|(id, member)| (*id, member))
    }

    /// Who else has these peer URLs, which are sorted, than member `id`. A roster from before `id` was admitted can't
    /// tell: they may still be those of the member that it replaces.
    pub fn other_at(&self, peer_urls: &[String], id: u64) -> Option<u64> {
        let (other, _) = self.find(peer_urls)?;
        (other != id && self.members.contains_key(&id)).then_some(other)
    }

    /// The members as etcd's clients see them.
    pub fn listed(&self) -> Vec<etcdserverpb::Member> {
        let listed = self.members.iter().map(|(id, member)| etcdserverpb::Member {
            id: *id,
            name: member.attributes.name.clone(),
            peer_ur_ls: member.node.peer_urls.clone(),
            client_ur_ls: member.attributes.client_urls.clone(),
            is_learner: member.node.learner,
        });
        listed.collect()
    }
}

/// Follows a change of the membership in the state: who isn't there any more is removed for good.
pub fn record_membership(
    state: &mut Overlay<'_>,
    before: Option<&raftpb::StoredMembership>,
    after: &raftpb::StoredMembership,
) {
    let ids = |stored: &raftpb::StoredMembership| -> BTreeSet<u64> {
        let members = stored
            .membership
            .iter()
            .flat_map(|membership| &membership.members);
        members.map(|member| member.id).collect()
    };
    let before = before.map(ids).unwrap_or_default();
    for id in before.difference(&ids(after)) {
        remove_member(state, *id);
    }
}

#[cfg(test)]
mod tests {
    use super::{Roster, RosterMember};
    use crate::raft::PeerNode;
    use kvstore_core::MemberAttributes;

    fn roster(members: &[(u64, &str)]) -> Roster {
        let members = members.iter().map(|(id, url)| {
            let member = RosterMember {
                node: PeerNode {
                    peer_urls: vec![(*url).to_owned()],
                    ..PeerNode::default()
                },
                votes: true,
                attributes: MemberAttributes::default(),
            };
            (*id, member)
        });
        Roster {
            members: members.collect(),
        }
    }

    #[test]
    fn a_member_is_foreign_where_another_has_its_place_and_it_has_one_too() {
        let (one, two) = (["http://one".to_owned()], ["http://two".to_owned()]);
        let known = roster(&[(1, "http://one"), (2, "http://two")]);
        assert_eq!(known.other_at(&one, 1), None);
        assert_eq!(known.other_at(&two, 1), Some(2));
        // It was admitted in the place of member 2, and crashed before it had applied that.
        assert_eq!(known.other_at(&two, 3), None);
    }
}
