//! How the health checks went.

use super::build::Builder;
use prometheus::{IntCounterVec, IntGaugeVec};

pub struct HealthMetrics {
    last: IntGaugeVec,
    runs: IntCounterVec,
}

impl HealthMetrics {
    pub fn new(builder: &Builder) -> Self {
        Self {
            last: builder.gauges(
                "etcd_server_healthcheck",
                "The result of each kind of healthcheck.",
                &["type", "name"],
            ),
            runs: builder.counters(
                "etcd_server_healthchecks_total",
                "The total number of each kind of healthcheck.",
                &["type", "name", "status"],
            ),
        }
    }

    pub fn ran(&self, kind: &str, check: &str, passed: bool) {
        let status = if passed { "success" } else { "error" };
        self.last.with_label_values(&[kind, check]).set(i64::from(passed));
        self.runs.with_label_values(&[kind, check, status]).inc();
    }
}
