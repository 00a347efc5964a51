//! When each node was last heard of.
//!
//! Invariants:
//! - Times are of this process's own monotonic clock: a jump of wall time makes no node look dead.
//! - A sign of life is a new one: to be shown the same lease again, as a new leader is, says nothing.
//! - Silence counts only while this process could have heard: after a gap in which it heard nothing of any node, the
//!   first sign of life of one is taken for one of all. Upstream knows this rule for the end of a full disruption
//!   (`handleDisruption`, 1.36); here it also covers a process that was paused, and watches that stood still.

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a node's agent wrote, and its own time of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Lease(Option<Timestamp>),
    Status(Option<Timestamp>),
}

#[derive(Default)]
struct Heard {
    at: Duration,
    lease: Option<Sign>,
    status: Option<Sign>,
}

pub struct SignsOfLife {
    heard: BTreeMap<String, Heard>,
    /// When anything was last heard of any node.
    last: Duration,
    /// When nodes were last looked at.
    looked: Option<Duration>,
    /// The longest time in which nothing at all is heard while all is well.
    gap: Duration,
}

impl SignsOfLife {
    /// `gap` should be some renewals of a lease long, and shorter than the grace period.
    pub fn new(gap: Duration) -> Self {
        Self {
            heard: BTreeMap::new(),
            last: Duration::ZERO,
            looked: None,
            gap,
        }
    }

    /// A node shows at `at`, since the start of the process, what its agent wrote last.
    pub fn hear(&mut self, node: &str, sign: Sign, at: Duration) {
        let heard = self.heard.entry(node.to_owned()).or_default();
        let slot = match sign {
            Sign::Lease(_) => &mut heard.lease,
            Sign::Status(_) => &mut heard.status,
        };
        if slot.replace(sign) == Some(sign) {
            return;
        }
        heard.at = at;
        if at.saturating_sub(self.last) > self.gap {
            self.hear_all(at);
        }
        self.last = at;
    }

    /// Grants every known node a fresh grace period.
    pub fn hear_all(&mut self, at: Duration) {
        for heard in self.heard.values_mut() {
            heard.at = at;
        }
    }

    pub fn forget(&mut self, node: &str) {
        self.heard.remove(node);
    }

    /// When each node was last heard of, for a look at `at`. Who doesn't look all the time, because somebody else leads or
    /// the API server is away, and has heard nothing lately, was cut off itself.
    pub fn look(&mut self, at: Duration) -> BTreeMap<String, Duration> {
        let away = self
            .looked
            .is_none_or(|looked| at.saturating_sub(looked) > self.gap / 2);
        if away && at.saturating_sub(self.last) > self.gap {
            self.hear_all(at);
        }
        self.looked = Some(at);
        let heard = self.heard.iter();
        heard.map(|(node, heard)| (node.clone(), heard.at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Sign, SignsOfLife};
    use jiff::Timestamp;
    use std::time::Duration;

    const GAP: Duration = Duration::from_secs(6);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn renewed(seconds: i64) -> Sign {
        Sign::Lease(Timestamp::from_second(seconds).ok())
    }

    #[test]
    fn a_node_is_silent_while_others_are_heard() {
        let mut signs = SignsOfLife::new(GAP);
        signs.hear("lost", renewed(0), at(0));
        for second in (0..30).step_by(3) {
            signs.hear("well", renewed(second.try_into().unwrap()), at(second));
        }
        // A new leader is shown everything once more.
        signs.hear("lost", renewed(0), at(28));
        let heard = signs.look(at(28));
        assert_eq!((heard["lost"], heard["well"]), (at(0), at(27)));
    }

    #[test]
    fn status_and_lease_are_signs_of_their_own() {
        let mut signs = SignsOfLife::new(GAP);
        signs.hear("a", renewed(1), at(1));
        signs.hear("a", Sign::Status(None), at(2));
        assert_eq!(signs.look(at(2))["a"], at(2));
        signs.hear("a", Sign::Status(None), at(3));
        assert_eq!(signs.look(at(3))["a"], at(2));
    }

    #[test]
    fn after_a_time_without_any_sign_all_nodes_count_as_heard_of() {
        let mut signs = SignsOfLife::new(GAP);
        for node in ["a", "b", "c"] {
            signs.hear(node, renewed(1), at(1));
        }
        // The process was paused, or its API server away.
        signs.hear("a", renewed(40), at(40));
        assert!(signs.look(at(40)).values().all(|heard| *heard == at(40)));
        // From here on silence counts again.
        signs.hear("a", renewed(43), at(43));
        assert_eq!(signs.look(at(43))["b"], at(40));
    }

    #[test]
    fn a_leader_that_was_away_and_heard_nothing_grants_fresh_grace_before_the_first_sign() {
        let mut signs = SignsOfLife::new(GAP);
        signs.hear("a", renewed(1), at(1));
        assert_eq!(signs.look(at(2))["a"], at(1));
        assert_eq!(signs.look(at(30))["a"], at(30));
        // One that looked all the time knows that the silence is the nodes'.
        for second in 31..60 {
            assert_eq!(signs.look(at(second))["a"], at(30));
        }
    }
}
