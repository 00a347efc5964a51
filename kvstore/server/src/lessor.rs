//! When leases expire: a clock that only the leader runs.
//!
//! A new leader starts every lease afresh with its full time to live: it can't know how much was left,
//! and giving too much is safe where giving too little is not (etcd `server/lease/lessor.go`, `Promote`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// A lease on the clock.
#[derive(Debug, Clone, Copy)]
struct Running {
    ttl: i64,
    deadline: Instant,
}

#[derive(Default)]
struct Clock {
    leases: BTreeMap<i64, Running>,
    deadlines: BTreeSet<(Instant, i64)>,
}

impl Clock {
    fn set(&mut self, id: i64, ttl: i64, extra: Duration) {
        self.remove(id);
        let deadline = Instant::now() + seconds(ttl) + extra;
        self.leases.insert(id, Running { ttl, deadline });
        self.deadlines.insert((deadline, id));
    }

    fn remove(&mut self, id: i64) {
        if let Some(running) = self.leases.remove(&id) {
            self.deadlines.remove(&(running.deadline, id));
        }
    }
}

/// The answer to a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It runs for this many seconds again.
    Renewed(i64),
    /// There is no such lease.
    Missing,
    /// It has expired and is about to be revoked: ask again.
    Expiring,
    /// Only the leader keeps the clock.
    NotLeader,
}

/// What is left of a lease, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    pub remaining: i64,
    pub granted: i64,
}

/// The leader's clock; stopped on other members.
#[derive(Default)]
pub struct Lessor {
    clock: Mutex<Option<Clock>>,
    changed: Notify,
}

impl Lessor {
    /// Starts the clock with the leases that `load` gives; each runs for its time to live and `extra`.
    pub fn promote<E>(
        &self,
        extra: Duration,
        load: impl FnOnce() -> Result<Vec<(i64, i64)>, E>,
    ) -> Result<(), E> {
        // Loaded under the lock: a grant applied meanwhile waits and is added after.
        let mut clock = self.lock();
        let mut fresh = Clock::default();
        for (id, ttl) in load()? {
            fresh.set(id, ttl, extra);
        }
        *clock = Some(fresh);
        drop(clock);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Stops the clock.
    pub fn demote(&self) {
        *self.lock() = None;
        self.changed.notify_waiters();
    }

    pub fn granted(&self, id: i64, ttl: i64) {
        if let Some(clock) = self.lock().as_mut() {
            clock.set(id, ttl, Duration::ZERO);
        }
        self.changed.notify_waiters();
    }

    pub fn revoked(&self, id: i64) {
        if let Some(clock) = self.lock().as_mut() {
            clock.remove(id);
        }
        self.changed.notify_waiters();
    }

    pub fn renew(&self, id: i64) -> Renewal {
        let mut clock = self.lock();
        let Some(clock) = clock.as_mut() else {
            return Renewal::NotLeader;
        };
        match clock.leases.get(&id).copied() {
            None => Renewal::Missing,
            Some(running) if running.deadline <= Instant::now() => Renewal::Expiring,
            Some(running) => {
                clock.set(id, running.ttl, Duration::ZERO);
                Renewal::Renewed(running.ttl)
            }
        }
    }

    /// What is left of a lease: `Err` when this member isn't the leader.
    pub fn remaining(&self, id: i64) -> Result<Option<Remaining>, Renewal> {
        let clock = self.lock();
        let clock = clock.as_ref().ok_or(Renewal::NotLeader)?;
        Ok(clock.leases.get(&id).map(|running| Remaining {
            remaining: i64::try_from(
                running
                    .deadline
                    .saturating_duration_since(Instant::now())
                    .as_secs(),
            )
            .unwrap_or(i64::MAX),
            granted: running.ttl,
        }))
    }

    /// The leases in the order in which they expire: `None` when this member isn't the leader.
    pub fn by_expiry(&self) -> Option<Vec<i64>> {
        let clock = self.lock();
        let deadlines = clock.as_ref()?.deadlines.iter();
        Some(deadlines.map(|(_, id)| *id).collect())
    }

    /// At most `limit` leases whose time is over; or when to ask again (`None`: when something changes).
    pub fn expired(&self, limit: usize) -> Result<Vec<i64>, Option<Instant>> {
        let clock = self.lock();
        let Some(clock) = clock.as_ref() else {
            return Err(None);
        };
        let now = Instant::now();
        let expired: Vec<i64> = clock
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .take(limit)
            .map(|(_, id)| *id)
            .collect();
        if expired.is_empty() {
            return Err(clock.deadlines.first().map(|(deadline, _)| *deadline));
        }
        Ok(expired)
    }

    /// Waits for the next change of the clock. Create the future before looking, await it after.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Clock>> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
