//! What a member counts and measures, under etcd's names.
//!
//! Invariants:
//! - Each member has a registry of its own: several members may live in one process.
//! - What is counted on the way of a request is resolved beforehand: there it costs a few atomic operations,
//!   no look-up of labels and no lock.
//! - What can be read off the state is read only when somebody asks (see [`Snapshot`]).

mod build;
mod compaction;
mod health;
mod peers;
mod promotions;
mod requests;
mod rpc;
mod scrapes;
mod slots;
mod snapshot;
mod state;
mod watching;

pub use peers::PeersMetrics;
pub use rpc::{Counted, RpcMetrics};
pub use snapshot::Snapshot;
pub use state::StateMetrics;

use build::Builder;
use compaction::CompactionMetrics;
use health::HealthMetrics;
use prometheus::{Encoder as _, TextEncoder};
use promotions::PromotionMetrics;
use requests::RequestMetrics;
use scrapes::ScrapeMetrics;
use watching::WatchingMetrics;

/// The metrics of one member.
pub struct Metrics {
    builder: Builder,
    pub rpc: RpcMetrics,
    pub state: StateMetrics,
    pub peers: PeersMetrics,
    pub health: HealthMetrics,
    pub requests: RequestMetrics,
    pub compaction: CompactionMetrics,
    pub promotions: PromotionMetrics,
    pub watching: WatchingMetrics,
    pub scrapes: ScrapeMetrics,
    snapshot: snapshot::Gauges,
}

impl Default for Metrics {
    fn default() -> Self {
        let builder = Builder::default();
        Self {
            rpc: RpcMetrics::new(&builder),
            state: StateMetrics::new(&builder),
            peers: PeersMetrics::new(&builder),
            health: HealthMetrics::new(&builder),
            requests: RequestMetrics::new(&builder),
            compaction: CompactionMetrics::new(&builder),
            promotions: PromotionMetrics::new(&builder),
            watching: WatchingMetrics::new(&builder),
            scrapes: ScrapeMetrics::new(&builder),
            snapshot: snapshot::Gauges::new(&builder),
            builder,
        }
    }
}

impl Metrics {
    /// Measures the time of gRPC calls too (etcd `--metrics=extensive`).
    pub fn extend(&self) {
        self.rpc.measure_handling(&self.builder);
    }

    /// Everything in the text format of Prometheus; `now` is what can be read off the state.
    ///
    /// # Errors
    /// When a metric can't be written as text.
    pub fn text(&self, now: &Snapshot) -> Result<String, prometheus::Error> {
        self.snapshot.set(now);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.builder.registry().gather(), &mut text)?;
        // The encoder writes UTF-8 only.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}
