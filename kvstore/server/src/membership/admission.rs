//! What the leader makes of a fresh folder that says it is a member.
//!
//! A member that was never started keeps its id: the folder is noted as the one that holds it, and what
//! is committed after that note is in a quorum without it. A member that may have taken part already had
//! another folder, which is lost: it is replaced by a new member with the same peer URLs, so that nobody
//! counts on what the lost folder knew.

use super::roster::Roster;
use kvstore_core::Refusal;
use proto::raftpb::AdmitRequest;

/// What to do with the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was admitted before and hasn't heard of it: its id.
    Known(u64),
    /// It is the first folder of this member: to be noted.
    First(u64),
    /// The folder of this member is lost: to be replaced.
    Replace(u64),
    /// This member is alive: not now.
    Alive(u64),
}

/// What the leader knows beside the roster.
#[derive(Clone, Copy)]
pub struct Witness<'a> {
    pub leader: u64,
    /// Whether a member has ever answered this leader.
    pub met: &'a dyn Fn(u64) -> bool,
    /// Whether a member answers now.
    pub alive: &'a dyn Fn(u64) -> bool,
}

/// Judges a request whose peer URLs are sorted.
pub fn judge(roster: &Roster, witness: Witness<'_>, request: &AdmitRequest) -> Result<Verdict, Refusal> {
    let (id, member) = roster.find(&request.peer_urls).ok_or(Refusal::MemberNotFound)?;
    if member.node.incarnation == request.incarnation {
        return Ok(Verdict::Known(id));
    }
    if id == witness.leader || (witness.alive)(id) {
        return Ok(Verdict::Alive(id));
    }
    if member.node.incarnation == 0 && !member.is_started() && !(witness.met)(id) {
        return Ok(Verdict::First(id));
    }
    Ok(Verdict::Replace(id))
}

#[cfg(test)]
mod tests {
    use super::super::roster::RosterMember;
    use super::*;
    use crate::raft::PeerNode;
    use kvstore_core::MemberAttributes;

    fn roster(incarnation: u64, name: &str) -> Roster {
        let member = |url: &str, incarnation, name: &str| RosterMember {
            node: PeerNode {
                peer_urls: vec![url.to_owned()],
                incarnation,
                ..PeerNode::default()
            },
            votes: true,
            attributes: MemberAttributes {
                name: name.to_owned(),
                ..MemberAttributes::default()
            },
        };
        Roster {
            members: [
                (1, member("http://a:1", 0, "a")),
                (2, member("http://b:1", incarnation, name)),
            ]
            .into(),
        }
    }

    fn judged(roster: &Roster, met: bool, alive: bool, url: &str) -> Result<Verdict, Refusal> {
        let witness = Witness {
            leader: 1,
            met: &|_| met,
            alive: &|_| alive,
        };
        let request = AdmitRequest {
            name: "b".to_owned(),
            peer_urls: vec![url.to_owned()],
            incarnation: 5,
        };
        judge(roster, witness, &request)
    }

    #[test]
    fn the_first_folder_of_a_member_is_noted() {
        assert_eq!(
            judged(&roster(0, ""), false, false, "http://b:1"),
            Ok(Verdict::First(2))
        );
    }

    #[test]
    fn a_member_that_took_part_is_replaced() {
        assert_eq!(
            judged(&roster(0, "b"), false, false, "http://b:1"),
            Ok(Verdict::Replace(2))
        );
        assert_eq!(
            judged(&roster(0, ""), true, false, "http://b:1"),
            Ok(Verdict::Replace(2))
        );
        assert_eq!(
            judged(&roster(4, ""), false, false, "http://b:1"),
            Ok(Verdict::Replace(2))
        );
    }

    #[test]
    fn asking_twice_changes_nothing() {
        assert_eq!(
            judged(&roster(5, "b"), true, true, "http://b:1"),
            Ok(Verdict::Known(2))
        );
    }

    #[test]
    fn a_living_member_is_not_replaced() {
        assert_eq!(
            judged(&roster(0, "b"), true, true, "http://b:1"),
            Ok(Verdict::Alive(2))
        );
        assert_eq!(
            judged(&roster(0, "b"), false, false, "http://a:1"),
            Ok(Verdict::Alive(1))
        );
    }

    #[test]
    fn who_is_no_member_is_refused() {
        assert_eq!(
            judged(&roster(0, ""), false, false, "http://c:1"),
            Err(Refusal::MemberNotFound)
        );
    }
}
