//! Which changes of the membership would put the quorum at risk (etcd `server/etcdserver/server.go`,
//! `mayAddMember` and its kin; `api/membership/cluster.go`, `IsReadyTo…`).

use kvstore_core::Refusal;

/// A member that votes or is to vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voter {
    pub id: u64,
    /// It was started at least once.
    pub started: bool,
    /// The leader hears from it; the leader itself is.
    pub active: bool,
    /// It has been active for long enough to be counted on.
    pub steady: bool,
}

const fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

fn count(voters: &[Voter], what: impl Fn(&Voter) -> bool) -> usize {
    voters.iter().filter(|voter| what(voter)).count()
}

/// Whether a member may be added. As the new one can't be counted on, the others must carry it.
pub fn may_add(voters: &[Voter], learner: bool) -> Result<(), Refusal> {
    let started = count(voters, |voter| voter.started);
    // One may become two: it's the way from a restored member to a cluster.
    let exempt = learner || (started == 1 && voters.len() == 1);
    if !exempt && started < quorum(voters.len() + 1) {
        return Err(Refusal::NotEnoughStarted);
    }
    if voters.len() > 1 && count(voters, |voter| voter.steady) < quorum(voters.len() + 1) {
        return Err(Refusal::UnhealthyCluster);
    }
    Ok(())
}

/// Whether this voter may be removed.
pub fn may_remove(voters: &[Voter], id: u64) -> Result<(), Refusal> {
    let left: Vec<Voter> = voters.iter().filter(|voter| voter.id != id).copied().collect();
    if count(&left, |voter| voter.started) < quorum(left.len()) {
        return Err(Refusal::NotEnoughStarted);
    }
    let down = voters.iter().any(|voter| voter.id == id && !voter.active);
    // Who is down carries nothing.
    let steady = count(voters, |voter| voter.steady);
    if !down && steady.saturating_sub(1) < quorum(left.len()) {
        return Err(Refusal::UnhealthyCluster);
    }
    Ok(())
}

/// Whether a learner may become one of the voters.
pub fn may_promote(voters: &[Voter]) -> Result<(), Refusal> {
    // The learner itself counts: it was started, or it wouldn't have caught up.
    if count(voters, |voter| voter.started) + 1 < quorum(voters.len() + 1) {
        return Err(Refusal::NotEnoughStarted);
    }
    Ok(())
}

/// Whether a learner's log is close enough to the leader's (etcd `readyPercentThreshold`, 0.9).
pub fn is_in_sync(learner_index: u64, leader_index: u64) -> bool {
    u128::from(learner_index) * 10 >= u128::from(leader_index) * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter a voter: `a` active, `n` active since a moment ago, `d` down, `u` never started. Ids count
    /// from 1.
    fn voters(states: &str) -> Vec<Voter> {
        let voters = states.chars().zip(1..).map(|(state, id)| Voter {
            id,
            started: state != 'u',
            active: matches!(state, 'a' | 'n'),
            steady: state == 'a',
        });
        voters.collect()
    }

    #[test]
    fn a_voter_is_added_only_if_the_others_carry_it() {
        assert_eq!(may_add(&voters("a"), false), Ok(()));
        assert_eq!(may_add(&voters("aa"), false), Ok(()));
        assert_eq!(may_add(&voters("aaa"), false), Ok(()));
        assert_eq!(may_add(&voters("au"), false), Err(Refusal::NotEnoughStarted));
        assert_eq!(may_add(&voters("aau"), false), Err(Refusal::NotEnoughStarted));
        assert_eq!(may_add(&voters("aad"), false), Err(Refusal::UnhealthyCluster));
        assert_eq!(may_add(&voters("aaaad"), false), Ok(()));
        assert_eq!(may_add(&voters("ann"), false), Err(Refusal::UnhealthyCluster));
        assert_eq!(may_add(&voters("ann"), true), Err(Refusal::UnhealthyCluster));
    }

    #[test]
    fn a_learner_needs_a_healthy_cluster_only() {
        assert_eq!(may_add(&voters("a"), true), Ok(()));
        assert_eq!(may_add(&voters("aaa"), true), Ok(()));
        assert_eq!(may_add(&voters("aau"), true), Err(Refusal::UnhealthyCluster));
    }

    #[test]
    fn a_voter_is_removed_only_if_the_rest_goes_on() {
        assert_eq!(may_remove(&voters("aaa"), 1), Ok(()));
        assert_eq!(may_remove(&voters("aa"), 2), Ok(()));
        assert_eq!(may_remove(&voters("a"), 1), Err(Refusal::NotEnoughStarted));
        assert_eq!(may_remove(&voters("au"), 1), Err(Refusal::NotEnoughStarted));
        assert_eq!(may_remove(&voters("au"), 2), Ok(()));
        assert_eq!(may_remove(&voters("aad"), 1), Err(Refusal::UnhealthyCluster));
        assert_eq!(may_remove(&voters("aad"), 3), Ok(()));
        assert_eq!(may_remove(&voters("ann"), 3), Err(Refusal::UnhealthyCluster));
        assert_eq!(may_remove(&voters("an"), 2), Err(Refusal::UnhealthyCluster));
    }

    #[test]
    fn a_learner_is_promoted_beside_enough_started_voters() {
        assert_eq!(may_promote(&voters("a")), Ok(()));
        assert_eq!(may_promote(&voters("au")), Ok(()));
        assert_eq!(may_promote(&voters("uu")), Err(Refusal::NotEnoughStarted));
        assert_eq!(may_promote(&voters("auu")), Err(Refusal::NotEnoughStarted));
    }

    #[test]
    fn a_learner_is_in_sync_from_nine_tenths_on() {
        assert!(is_in_sync(90, 100));
        assert!(!is_in_sync(89, 100));
        assert!(is_in_sync(0, 0));
    }
}
