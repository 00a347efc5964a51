//! Requests for the metrics themselves, as `promhttp` counts them.

use super::build::Builder;
use prometheus::{IntCounter, IntGauge};

pub struct ScrapeMetrics {
    under_way: IntGauge,
    /// Failed, then answered.
    ended: [IntCounter; 2],
}

impl ScrapeMetrics {
    pub fn new(builder: &Builder) -> Self {
        let ended = builder.counters(
            "promhttp_metric_handler_requests_total",
            "Total number of scrapes by HTTP status code.",
            &["code"],
        );
        Self {
            under_way: builder.gauge(
                "promhttp_metric_handler_requests_in_flight",
                "Current number of scrapes being served.",
            ),
            ended: ["500", "200"].map(|code| ended.with_label_values(&[code])),
        }
    }

    /// Counts what `scrape` comes to; it doesn't see itself among those that have ended.
    pub fn count<T, E>(&self, scrape: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.under_way.inc();
        let outcome = scrape();
        self.under_way.dec();
        self.ended[usize::from(outcome.is_ok())].inc();
        outcome
    }
}
