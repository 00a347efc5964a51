//! Makes metrics and registers them.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

/// Why none of these can fail.
const LITERAL: &str = "names and labels are literals, each registered once";

/// The upper bounds of a histogram: `count` of them from `start` on, each `factor` times the last.
#[derive(Clone, Copy)]
pub struct Buckets {
    pub start: f64,
    pub factor: f64,
    pub count: usize,
}

/// etcd's buckets for the disk: 1 ms to 8 s.
pub const DISK: Buckets = Buckets {
    start: 0.001,
    factor: 2.0,
    count: 14,
};

/// A registry that is being filled.
#[derive(Default)]
pub struct Builder {
    registry: Registry,
}

impl Builder {
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The memory, processor time and descriptors of the process; the registries of its members share it.
    pub fn register_process(&self, process: ProcessCollector) {
        self.registry.register(Box::new(process)).expect(LITERAL);
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        let shared = Box::new(collector.clone());
        self.registry.register(shared).expect(LITERAL);
        collector
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect(LITERAL))
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels).expect(LITERAL))
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help).expect(LITERAL))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels).expect(LITERAL))
    }

    pub fn histogram(&self, name: &str, help: &str, buckets: Buckets) -> Histogram {
        self.register(Histogram::with_opts(histogram(name, help, buckets)).expect(LITERAL))
    }

    /// With the buckets of Prometheus' own: 5 ms to 10 s.
    pub fn default_histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.register(HistogramVec::new(HistogramOpts::new(name, help), labels).expect(LITERAL))
    }

    pub fn histograms(&self, name: &str, help: &str, buckets: Buckets, labels: &[&str]) -> HistogramVec {
        self.register(HistogramVec::new(histogram(name, help, buckets), labels).expect(LITERAL))
    }
}

fn histogram(name: &str, help: &str, buckets: Buckets) -> HistogramOpts {
    let bounds = exponential_buckets(buckets.start, buckets.factor, buckets.count).expect(LITERAL);
    HistogramOpts::new(name, help).buckets(bounds)
}
