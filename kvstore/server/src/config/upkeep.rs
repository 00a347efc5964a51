//! How a member keeps its store in order while it serves.

use std::time::Duration;

/// Which revisions the leader compacts by itself (etcd `--auto-compaction-mode`, `-retention`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoCompaction {
    /// None: clients see to it, as Kubernetes does.
    Off,
    /// Those older than this.
    Periodic(Duration),
    /// All but the newest so many.
    Revisions(u64),
}

/// How gently compacted versions are removed from disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionPace {
    /// Events visited in one step (etcd `--compaction-batch-limit`).
    pub batch: usize,
    /// The least pause between two steps (etcd `--compaction-sleep-interval`).
    pub pause: Duration,
}

impl Default for CompactionPace {
    fn default() -> Self {
        Self {
            batch: 1_000,
            pause: Duration::from_millis(10),
        }
    }
}

/// When members compare what they hold. A check reads the whole state in the background; one that takes
/// long is repeated less often, so that checks take at most a tenth of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorruptCheck {
    /// A member that has started asks for a check (etcd feature gate `InitialCorruptCheck`).
    pub initial: bool,
    /// The least time between two checks; zero: never (etcd `--compact-hash-check-time`).
    pub interval: Duration,
}

impl Default for CorruptCheck {
    fn default() -> Self {
        Self {
            initial: true,
            interval: Duration::from_secs(60),
        }
    }
}
