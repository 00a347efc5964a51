//! What goes to and comes from each other member.

use super::build::{Buckets, Builder, DISK};
use super::slots::Slots;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::time::Duration;
use tokio::time::Instant;

/// Members told apart; a cluster of today has far fewer.
const PEERS: usize = 32;

/// The metrics of one other member.
pub struct PeerMetrics {
    pub sent_bytes: IntCounter,
    pub received_bytes: IntCounter,
    pub send_failures: IntCounter,
    pub round_trip: Histogram,
    snapshots_sent: IntCounter,
    snapshots_failed: IntCounter,
    snapshots_sending: IntGauge,
    snapshot_duration: Histogram,
}

impl PeerMetrics {
    pub fn answered(&self, after: Duration) {
        self.round_trip.observe(after.as_secs_f64());
    }

    /// A snapshot is being sent until the guard is told that it has arrived.
    pub fn sending_snapshot(&self) -> Sending<'_> {
        self.snapshots_sending.inc();
        Sending {
            peer: self,
            begun: Instant::now(),
            arrived: false,
        }
    }
}

/// A snapshot on its way; one that is dropped before its end has failed.
pub struct Sending<'a> {
    peer: &'a PeerMetrics,
    begun: Instant,
    arrived: bool,
}

impl Sending<'_> {
    pub fn succeeded(mut self) {
        self.arrived = true;
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.peer.snapshots_sending.dec();
        if self.arrived {
            self.peer.snapshots_sent.inc();
            self.peer
                .snapshot_duration
                .observe(self.begun.elapsed().as_secs_f64());
        } else {
            self.peer.snapshots_failed.inc();
        }
    }
}

/// The metrics of all other members.
pub struct PeersMetrics {
    peers: Slots<u64, PeerMetrics, PEERS>,
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    send_failures: IntCounterVec,
    round_trip: HistogramVec,
    snapshots_sent: IntCounterVec,
    snapshots_failed: IntCounterVec,
    snapshots_sending: IntGaugeVec,
    snapshot_duration: HistogramVec,
}

impl PeersMetrics {
    pub fn new(builder: &Builder) -> Self {
        let round_trips = Buckets {
            start: 0.0001,
            factor: 2.0,
            count: 16,
        };
        let snapshots = Buckets { start: 0.1, ..DISK };
        let (to, from) = (&["To"][..], &["From"][..]);
        Self {
            peers: Slots::default(),
            sent_bytes: builder.counters(
                "etcd_network_peer_sent_bytes_total",
                "The total number of bytes sent to peers.",
                to,
            ),
            received_bytes: builder.counters(
                "etcd_network_peer_received_bytes_total",
                "The total number of bytes received from peers.",
                from,
            ),
            send_failures: builder.counters(
                "etcd_network_peer_sent_failures_total",
                "The total number of send failures from peers.",
                to,
            ),
            round_trip: builder.histograms(
                "etcd_network_peer_round_trip_time_seconds",
                "Round-Trip-Time histogram between peers",
                round_trips,
                to,
            ),
            snapshots_sent: builder.counters(
                "etcd_network_snapshot_send_success",
                "Total number of successful snapshot sends",
                to,
            ),
            snapshots_failed: builder.counters(
                "etcd_network_snapshot_send_failures",
                "Total number of snapshot send failures",
                to,
            ),
            snapshots_sending: builder.gauges(
                "etcd_network_snapshot_send_inflights_total",
                "Total number of inflight snapshot sends",
                to,
            ),
            snapshot_duration: builder.histograms(
                "etcd_network_snapshot_send_total_duration_seconds",
                "Total latency distributions of v3 snapshot sends",
                snapshots,
                to,
            ),
        }
    }

    /// The metrics of the member `id`, named as etcd names it: in hexadecimal.
    pub fn of(&self, id: u64) -> &PeerMetrics {
        self.peers.get(&id, |id| {
            let name = id.map_or_else(|| "other".to_owned(), |id| format!("{id:x}"));
            let label = [name.as_str()];
            PeerMetrics {
                sent_bytes: self.sent_bytes.with_label_values(&label),
                received_bytes: self.received_bytes.with_label_values(&label),
                send_failures: self.send_failures.with_label_values(&label),
                round_trip: self.round_trip.with_label_values(&label),
                snapshots_sent: self.snapshots_sent.with_label_values(&label),
                snapshots_failed: self.snapshots_failed.with_label_values(&label),
                snapshots_sending: self.snapshots_sending.with_label_values(&label),
                snapshot_duration: self.snapshot_duration.with_label_values(&label),
            }
        })
    }
}
