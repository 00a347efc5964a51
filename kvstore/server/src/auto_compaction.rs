//! Compaction that nobody has to ask for (etcd `server/etcdserver/api/v3compactor`).
//!
//! Every member notes the revisions as time goes by, so that a new leader need not wait a whole period; only
//! the leader compacts.

use crate::config::AutoCompaction;
use crate::consensus::Consensus;
use crate::store::Store;
use kvstore_core::{Command, Refusal};
use proto::etcdserverpb::CompactionRequest;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3600);
/// How often the number of revisions is looked at.
const REVISIONS_INTERVAL: Duration = Duration::from_secs(300);
/// Revisions are noted so many times in a period.
const SAMPLES: u32 = 10;

/// Runs until `cancel`.
pub async fn run(mode: AutoCompaction, consensus: Consensus, store: Arc<Store>, cancel: CancellationToken) {
    let mut plan = match mode {
        AutoCompaction::Off => return,
        AutoCompaction::Periodic(period) if period.is_zero() => return,
        AutoCompaction::Periodic(period) => Plan::Periodic(Periodic::new(period, Instant::now())),
        AutoCompaction::Revisions(kept) => Plan::Revisions {
            kept: i64::try_from(kept).unwrap_or(i64::MAX),
            last: 0,
        },
    };
    loop {
        plan.note(store.hub.revision());
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(plan.interval()) => {}
        }
        if !consensus.view().is_leader {
            continue;
        }
        let Some(revision) = plan.wish(store.hub.revision(), Instant::now()) else {
            continue;
        };
        let command = Command {
            compaction: Some(CompactionRequest {
                revision,
                physical: false,
            }),
            ..Command::default()
        };
        match consensus.propose(&command).await {
            // Somebody else was there first: just as well.
            Ok(Ok(_) | Err(Refusal::Compacted)) => {
                tracing::info!(revision, "compacted by itself");
                plan.done(revision, Instant::now());
            }
            Ok(Err(refusal)) => tracing::warn!(%refusal, revision, "compacting by itself"),
            Err(status) => tracing::warn!(%status, revision, "compacting by itself"),
        }
    }
}

enum Plan {
    Periodic(Periodic),
    Revisions { kept: i64, last: i64 },
}

impl Plan {
    fn interval(&self) -> Duration {
        match self {
            Self::Periodic(periodic) => periodic.interval(),
            Self::Revisions { .. } => REVISIONS_INTERVAL,
        }
    }

    fn note(&mut self, revision: i64) {
        if let Self::Periodic(periodic) = self {
            periodic.note(revision);
        }
    }

    /// What to compact now, if anything.
    fn wish(&self, revision: i64, now: Instant) -> Option<i64> {
        match self {
            Self::Periodic(periodic) => periodic.wish(now),
            Self::Revisions { kept, last } => {
                Some(revision.saturating_sub(*kept)).filter(|wish| *wish > 0 && wish != last)
            }
        }
    }

    fn done(&mut self, revision: i64, now: Instant) {
        match self {
            Self::Periodic(periodic) => periodic.done(revision, now),
            Self::Revisions { last, .. } => *last = revision,
        }
    }
}

/// Keeps the revisions of one period: noted ten times in it (or in an hour, if that's shorter), compacted
/// once in it (or in an hour), the first time after a whole period.
struct Periodic {
    period: Duration,
    noted: VecDeque<i64>,
    last: i64,
    last_success: Instant,
    first: bool,
}

impl Periodic {
    fn new(period: Duration, now: Instant) -> Self {
        Self {
            period,
            noted: VecDeque::new(),
            last: 0,
            last_success: now,
            first: true,
        }
    }

    fn interval(&self) -> Duration {
        self.period.min(HOUR) / SAMPLES
    }

    fn note(&mut self, revision: i64) {
        self.noted.push_back(revision);
        let kept = self.period.as_nanos() / self.interval().as_nanos().max(1) + 1;
        while self.noted.len() as u128 > kept {
            self.noted.pop_front();
        }
    }

    fn wish(&self, now: Instant) -> Option<i64> {
        let wait = if self.first {
            self.period
        } else {
            self.period.min(HOUR)
        };
        let oldest = *self.noted.front()?;
        (now - self.last_success >= wait && oldest != self.last).then_some(oldest)
    }

    fn done(&mut self, revision: i64, now: Instant) {
        self.last = revision;
        self.last_success = now;
        self.first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::{Periodic, Plan};
    use std::time::Duration;
    use tokio::time::Instant;

    /// Runs a plan of `period` for so many intervals while the revision grows by 10 in each; gives the
    /// intervals in which it compacted, and to which revision.
    fn compactions(period: Duration, intervals: u32) -> Vec<(u32, i64)> {
        let start = Instant::now();
        let mut plan = Periodic::new(period, start);
        let mut compacted = Vec::new();
        for at in 0..intervals {
            plan.note(i64::from(at) * 10 + 1);
            let now = start + plan.interval() * (at + 1);
            if let Some(revision) = plan.wish(now) {
                plan.done(revision, now);
                compacted.push((at + 1, revision));
            }
        }
        compacted
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_period_is_compacted_once_in_it_up_to_its_start() {
        let compacted = compactions(Duration::from_secs(600), 40);
        assert_eq!(compacted, [(10, 1), (20, 91), (30, 191), (40, 291)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_period_is_compacted_every_hour_after_the_first_period() {
        let compacted = compactions(Duration::from_secs(3 * 3600), 60);
        assert_eq!(compacted, [(30, 1), (40, 91), (50, 191), (60, 291)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_revisions_are_kept() {
        let mut plan = Plan::Revisions { kept: 100, last: 0 };
        let now = Instant::now();
        assert_eq!(plan.wish(100, now), None);
        assert_eq!(plan.wish(150, now), Some(50));
        plan.done(50, now);
        assert_eq!(plan.wish(150, now), None, "nothing new");
        assert_eq!(plan.wish(151, now), Some(51));
    }
}
