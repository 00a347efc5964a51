//! How compaction goes on.

use super::build::{Buckets, Builder};
use prometheus::{Histogram, IntCounter, IntGauge};
use std::time::Duration;

pub struct CompactionMetrics {
    pub keys: IntCounter,
    /// Single steps, in milliseconds.
    steps: Histogram,
    /// From the first step to the last, in milliseconds.
    total: Histogram,
    last: IntGauge,
}

impl CompactionMetrics {
    pub fn new(builder: &Builder) -> Self {
        Self {
            keys: builder.counter(
                "etcd_debugging_mvcc_db_compaction_keys_total",
                "Total number of db keys compacted.",
            ),
            steps: builder.histogram(
                "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                "Bucketed histogram of db compaction pause duration.",
                Buckets {
                    start: 1.0,
                    factor: 2.0,
                    count: 13,
                },
            ),
            total: builder.histogram(
                "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                "Bucketed histogram of db compaction total duration.",
                Buckets {
                    start: 100.0,
                    factor: 2.0,
                    count: 14,
                },
            ),
            last: builder.gauge(
                "etcd_debugging_mvcc_db_compaction_last",
                "The unix time of the last db compaction. Resets to 0 on start.",
            ),
        }
    }

    pub fn step(&self, took: Duration) {
        self.steps.observe(took.as_secs_f64() * 1e3);
    }

    /// The last step is done, at `now` in seconds of Unix time.
    pub fn finished(&self, took: Duration, now: i64) {
        self.total.observe(took.as_secs_f64() * 1e3);
        self.last.set(now);
    }
}
