//! Wall-clock time, for timestamps that people read and certificates that expire.

use jiff::Timestamp;

/// A source of wall-clock time. Never used to measure durations: that is `tokio::time::Instant`.
pub trait WallClock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
