//! The crash back-off of one container.

use crate::observation::{ContainerState, ObservedContainer};
use jiff::{SignedDuration, Timestamp};

const INITIAL_SECONDS: i64 = 10;
const MAX_SECONDS: i64 = 300;
/// A container that ran this long starts over with no delay.
const RESET_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// How long a container that ended must wait: nothing after its first end, then 10 s doubling to 300 s.
///
/// After an agent restart the level is taken from the attempt number, which lives in the runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrashBackoff {
    counted: Option<String>,
    level: u32,
}

impl CrashBackoff {
    /// Counts an attempt that ended, once.
    pub fn note(&mut self, container: &ObservedContainer) {
        if container.state != ContainerState::Exited || self.counted.as_deref() == Some(&container.id) {
            return;
        }
        let ran = match (container.started_at, container.finished_at) {
            (Some(start), Some(end)) => end.duration_since(start),
            _ => SignedDuration::ZERO,
        };
        self.level = if ran > RESET_AFTER {
            0
        } else if self.counted.is_none() {
            container.attempt
        } else {
            self.level.saturating_add(1)
        };
        self.counted = Some(container.id.clone());
    }

    pub fn delay(&self) -> SignedDuration {
        match self.level.checked_sub(1) {
            None => SignedDuration::ZERO,
            // 2^5 × 10 s is past the maximum already.
            Some(doublings) => {
                SignedDuration::from_secs((INITIAL_SECONDS << doublings.min(5)).min(MAX_SECONDS))
            }
        }
    }

    /// When the container that ended may start again.
    pub fn until(&self, container: &ObservedContainer) -> Timestamp {
        let from = container.finished_at.unwrap_or(container.created_at);
        from.checked_add(self.delay()).unwrap_or(from)
    }
}
