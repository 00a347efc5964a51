//! Whether a fresh folder may found its cluster: the decision, from what the other members answered.
//!
//! What must not happen: a cluster has acknowledged writes, one of its folders is lost, and the fresh folder
//! helps to a quorum that doesn't hold them. So a fresh folder founds only
//! - beside others that are fresh too, enough for a quorum: then no quorum of folders held anything; or
//! - beside founders that have seen this very folder fresh (by its incarnation) when they founded: then it
//!   has taken part in nothing since, because what it takes part in it would remember.
//!
//! A founder that has seen another folder in this one's place shows that one was lost: then it never founds.
//!
//! Who was not seen when the others founded has to be admitted by a quorum of them. So that a member which
//! starts a little later needn't, those that are enough wait a while for the rest.
//!
//! Everything else is the leader's to decide: see [`super::admission`].

use proto::raftpb::{DescribeResponse, Founder, Standing};

/// What a fresh folder is about to found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prospect {
    pub cluster: u64,
    pub member: u64,
    pub incarnation: u64,
    /// Members of the initial cluster, itself included.
    pub size: usize,
    /// Whether it has waited long enough for those who don't answer.
    pub patience_over: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Found the cluster, having seen these ready.
    Found(Vec<Founder>),
    /// The cluster runs: ask its leader to be admitted, and look again.
    AskAdmission,
    /// Too few answer.
    Wait,
    /// Enough answer, but not all: the rest may be about to start.
    WaitForAll,
}

/// Decides from the answers of the other members of the initial cluster; who didn't answer isn't among them.
pub fn next_step(prospect: &Prospect, answers: &[DescribeResponse]) -> Step {
    let me = Founder {
        member: prospect.member,
        incarnation: prospect.incarnation,
    };
    let ready: Vec<Founder> = answers
        .iter()
        .filter(|answer| {
            answer.cluster == prospect.cluster
                && match answer.standing() {
                    Standing::Fresh => true,
                    Standing::Founder => answer.founders.contains(&me),
                    Standing::Admitted | Standing::Removed => false,
                }
        })
        .map(|answer| Founder {
            member: answer.member,
            incarnation: answer.incarnation,
        })
        .collect();
    let runs = answers.iter().any(|answer| answer.standing() != Standing::Fresh);
    let was_another =
        |founder: &Founder| founder.member == me.member && founder.incarnation != me.incarnation;
    let lost = answers
        .iter()
        .any(|answer| answer.cluster == prospect.cluster && answer.founders.iter().any(was_another));
    let quorum = ready.len() + 1 > prospect.size / 2;
    if quorum && !lost {
        let all = ready.len() + 1 == prospect.size;
        return if all || runs || prospect.patience_over {
            Step::Found(ready)
        } else {
            Step::WaitForAll
        };
    }
    if runs { Step::AskAdmission } else { Step::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Prospect = Prospect {
        cluster: 7,
        member: 1,
        incarnation: 11,
        size: 3,
        patience_over: true,
    };

    fn answer(member: u64, standing: Standing, founders: &[(u64, u64)]) -> DescribeResponse {
        let founders = founders.iter().map(|(member, incarnation)| Founder {
            member: *member,
            incarnation: *incarnation,
        });
        DescribeResponse {
            cluster: 7,
            member,
            incarnation: member + 10,
            standing: standing.into(),
            founders: founders.collect(),
            ..DescribeResponse::default()
        }
    }

    fn found(members: &[u64]) -> Step {
        let founders = members.iter().map(|member| Founder {
            member: *member,
            incarnation: member + 10,
        });
        Step::Found(founders.collect())
    }

    #[test]
    fn one_alone_founds_at_once() {
        let alone = Prospect { size: 1, ..THREE };
        assert_eq!(next_step(&alone, &[]), found(&[]));
    }

    #[test]
    fn two_fresh_of_three_are_enough() {
        assert_eq!(next_step(&THREE, &[]), Step::Wait);
        assert_eq!(next_step(&THREE, &[answer(2, Standing::Fresh, &[])]), found(&[2]));
    }

    #[test]
    fn the_third_is_waited_for_until_patience_is_over() {
        let patient = Prospect {
            patience_over: false,
            ..THREE
        };
        let fresh = |member| answer(member, Standing::Fresh, &[]);
        assert_eq!(next_step(&patient, &[fresh(2)]), Step::WaitForAll);
        assert_eq!(next_step(&patient, &[fresh(2), fresh(3)]), found(&[2, 3]));
        // One that runs has waited already.
        let founder = answer(2, Standing::Founder, &[(1, 11)]);
        assert_eq!(next_step(&patient, &[founder]), found(&[2]));
    }

    #[test]
    fn a_lost_folder_doesnt_found_beside_a_fresh_one() {
        let knows_another = answer(2, Standing::Founder, &[(1, 99)]);
        let fresh = answer(3, Standing::Fresh, &[]);
        assert_eq!(next_step(&THREE, &[knows_another, fresh]), Step::AskAdmission);
    }

    #[test]
    fn a_founder_that_saw_this_folder_fresh_counts() {
        let founder = answer(2, Standing::Founder, &[(1, 11)]);
        assert_eq!(next_step(&THREE, &[founder]), found(&[2]));
    }

    #[test]
    fn a_wiped_folder_doesnt_found_beside_its_old_cluster() {
        // The founder knew an earlier folder of this member, or never met it.
        for known in [&[(1, 99)][..], &[(3, 13)][..]] {
            let founder = answer(2, Standing::Founder, known);
            assert_eq!(next_step(&THREE, &[founder]), Step::AskAdmission);
        }
        let admitted = answer(2, Standing::Admitted, &[]);
        assert_eq!(next_step(&THREE, &[admitted]), Step::AskAdmission);
    }

    #[test]
    fn who_is_to_found_another_cluster_doesnt_count() {
        let mut other = answer(2, Standing::Fresh, &[]);
        other.cluster = 8;
        assert_eq!(next_step(&THREE, &[other]), Step::Wait);
    }

    #[test]
    fn five_need_three() {
        let five = Prospect { size: 5, ..THREE };
        let fresh = |member| answer(member, Standing::Fresh, &[]);
        assert_eq!(next_step(&five, &[fresh(2)]), Step::Wait);
        assert_eq!(next_step(&five, &[fresh(2), fresh(3)]), found(&[2, 3]));
    }
}
