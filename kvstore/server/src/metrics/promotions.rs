//! Learners that were to be voters while this member led.

use super::build::Builder;
use prometheus::{IntCounter, IntCounterVec};

pub struct PromotionMetrics {
    succeeded: IntCounter,
    failed: IntCounterVec,
}

impl PromotionMetrics {
    pub fn new(builder: &Builder) -> Self {
        Self {
            succeeded: builder.counter(
                "etcd_server_learner_promote_successes",
                "The total number of successful learner promotions while this member is leader.",
            ),
            failed: builder.counters(
                "etcd_server_learner_promote_failures",
                "The total number of failed learner promotions (likely learner not ready) while this member is leader.",
                &["Reason"],
            ),
        }
    }

    pub fn succeeded(&self) {
        self.succeeded.inc();
    }

    /// `reason`: one of the refusals, so there are few.
    pub fn failed(&self, reason: &str) {
        self.failed.with_label_values(&[reason]).inc();
    }
}
