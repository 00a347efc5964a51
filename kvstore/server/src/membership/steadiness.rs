//! Who has been heard from for long enough to be counted on when the membership changes (etcd
//! `server/etcdserver/cluster_util.go`, `isConnectedSince`).
//!
//! etcd's members are all connected with each other and remember since when. Here only the leader hears from
//! the others, and a new one can't know for how long another did: it takes for steady who answers it and who
//! hasn't been silent under its eyes. Only a member that has just started knows nothing, and waits.

use crate::consensus::Standing;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What this member has seen of the others while it led.
#[derive(Debug)]
pub struct Steadiness {
    /// How long somebody must have been heard from; zero: not at all.
    interval: Duration,
    started: Instant,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    leads_since: Option<Instant>,
    /// When a member was last found silent.
    silent: BTreeMap<u64, Instant>,
}

impl Steadiness {
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            started: Instant::now(),
            seen: Mutex::default(),
        }
    }

    pub fn is_asked_for(&self) -> bool {
        !self.interval.is_zero()
    }

    /// Takes note of who is silent now: who hasn't answered for `patience`.
    pub fn observe(&self, standing: &Standing, patience: Duration) {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !standing.leads {
            seen.leads_since = None;
            return;
        }
        let since = *seen.leads_since.get_or_insert(now);
        // Who leads since a moment ago may not have been answered yet.
        if now - since <= patience {
            return;
        }
        for (id, progress) in &standing.progress {
            if progress.silence.is_none_or(|silence| silence > patience) {
                seen.silent.insert(*id, now);
            }
        }
    }

    /// Whether `id`, which answers, has done so for long enough. Its silence was noticed `patience` late.
    pub fn is_steady(&self, id: u64, patience: Duration) -> bool {
        let enough = self.interval.saturating_sub(patience);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = seen.silent.get(&id);
        !self.is_asked_for()
            || self.started.elapsed() >= enough && silent.is_none_or(|at| at.elapsed() >= enough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::Progress;

    const INTERVAL: Duration = Duration::from_secs(5);
    const PATIENCE: Duration = Duration::from_secs(1);

    fn standing(leads: bool, silence: Option<Duration>) -> Standing {
        let progress = Progress {
            matching: Some(1),
            silence,
        };
        Standing {
            leads,
            last_index: 1,
            is_joint: false,
            is_committed: true,
            nodes: BTreeMap::new(),
            voters: vec![1, 2],
            progress: [(2, progress)].into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_has_just_started_counts_on_nobody() {
        let steadiness = Steadiness::new(INTERVAL);
        assert!(!steadiness.is_steady(2, PATIENCE));
        tokio::time::advance(INTERVAL).await;
        assert!(steadiness.is_steady(2, PATIENCE));
        assert!(Steadiness::new(Duration::ZERO).is_steady(2, PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_silent_is_not_steady_for_a_while() {
        let steadiness = Steadiness::new(INTERVAL);
        tokio::time::advance(INTERVAL).await;
        steadiness.observe(&standing(true, None), PATIENCE);
        assert!(
            steadiness.is_steady(2, PATIENCE),
            "a new leader was not answered yet"
        );
        tokio::time::advance(PATIENCE * 2).await;
        steadiness.observe(&standing(true, Some(PATIENCE * 2)), PATIENCE);
        assert!(!steadiness.is_steady(2, PATIENCE));
        tokio::time::advance(INTERVAL - PATIENCE).await;
        steadiness.observe(&standing(true, Some(Duration::ZERO)), PATIENCE);
        assert!(steadiness.is_steady(2, PATIENCE));
    }
}
