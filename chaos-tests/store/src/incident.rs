//! What went wrong, with whom, from when to when: for those who measure what came of it.

use crate::fault_kind::FaultKind;
use std::time::Duration;

/// A fault that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub kind: FaultKind,
    pub members: Vec<&'static str>,
    pub began: Duration,
    /// `None`: the world ended before.
    pub ended: Option<Duration>,
    /// Who was last seen to lead the store when it began.
    pub leader: Option<&'static str>,
}

impl Incident {
    /// The one machine that this took away from all others, for at least `least` if its processes went on living.
    pub fn takes_away(&self, least: Duration) -> Option<&'static str> {
        let [machine] = self.members[..] else { return None };
        let away = match self.kind {
            FaultKind::Crash | FaultKind::CrashLeader | FaultKind::Loss | FaultKind::Wipe => true,
            FaultKind::Isolate
            | FaultKind::IsolateLeader
            | FaultKind::Exile
            | FaultKind::Pause
            | FaultKind::PauseLeader => self.lasted(least),
            _ => false,
        };
        away.then_some(machine)
    }

    /// Whether it was on for at least so long.
    pub fn lasted(&self, least: Duration) -> bool {
        self.ended.is_some_and(|ended| ended >= self.began + least)
    }

    /// Whether nothing of it was left at `at`, or anywhere from there to `until`.
    pub fn leaves_alone(&self, at: Duration, until: Duration) -> bool {
        self.began >= until || self.ended.is_some_and(|ended| ended <= at)
    }
}
