//! What goes to and comes from each other member.

use super::build::{Buckets, Builder};
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
    sent: Snapshots,
    received: Snapshots,
}

/// Snapshots that go in one direction.
struct Snapshots {
    succeeded: IntCounter,
    failed: IntCounter,
    under_way: IntGauge,
    duration: Histogram,
}

impl Snapshots {
    fn begin(&self) -> Transfer<'_> {
        self.under_way.inc();
        Transfer {
            snapshots: self,
            begun: Instant::now(),
            arrived: false,
        }
    }
}

impl PeerMetrics {
    pub fn answered(&self, after: Duration) {
        self.round_trip.observe(after.as_secs_f64());
    }

    /// A snapshot is being sent until the guard is told that it has arrived.
    pub fn sending_snapshot(&self) -> Transfer<'_> {
        self.sent.begin()
    }

    /// A snapshot is coming in until the guard is told that it has arrived.
    pub fn receiving_snapshot(&self) -> Transfer<'_> {
        self.received.begin()
    }
}

/// A snapshot on its way; one that is dropped before its end has failed.
pub struct Transfer<'a> {
    snapshots: &'a Snapshots,
    begun: Instant,
    arrived: bool,
}

impl Transfer<'_> {
    pub fn succeeded(mut self) {
        self.arrived = true;
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.snapshots.under_way.dec();
        if self.arrived {
            self.snapshots.succeeded.inc();
            let took = self.begun.elapsed();
            self.snapshots.duration.observe(took.as_secs_f64());
        } else {
            self.snapshots.failed.inc();
        }
    }
}

/// Snapshots that go in one direction, by member.
struct SnapshotsMetrics {
    succeeded: IntCounterVec,
    failed: IntCounterVec,
    under_way: IntGaugeVec,
    duration: HistogramVec,
}

impl SnapshotsMetrics {
    /// `verb`: `send` or `receive`; members are told apart by `label`.
    fn new(builder: &Builder, verb: &str, label: &[&str]) -> Self {
        let name = |what: &str| format!("etcd_network_snapshot_{verb}_{what}");
        Self {
            succeeded: builder.counters(
                &name("success"),
                &format!("Total number of successful snapshot {verb}s"),
                label,
            ),
            failed: builder.counters(
                &name("failures"),
                &format!("Total number of snapshot {verb} failures"),
                label,
            ),
            under_way: builder.gauges(
                &name("inflights_total"),
                &format!("Total number of inflight snapshot {verb}s"),
                label,
            ),
            duration: builder.histograms(
                &name("total_duration_seconds"),
                &format!("Total latency distributions of v3 snapshot {verb}s"),
                Buckets {
                    start: 0.1,
                    factor: 2.0,
                    count: 10,
                },
                label,
            ),
        }
    }

    fn of(&self, member: &str) -> Snapshots {
        Snapshots {
            succeeded: self.succeeded.with_label_values(&[member]),
            failed: self.failed.with_label_values(&[member]),
            under_way: self.under_way.with_label_values(&[member]),
            duration: self.duration.with_label_values(&[member]),
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
    sent: SnapshotsMetrics,
    received: SnapshotsMetrics,
}

impl PeersMetrics {
    pub fn new(builder: &Builder) -> Self {
        let round_trips = Buckets {
            start: 0.0001,
            factor: 2.0,
            count: 16,
        };
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
            sent: SnapshotsMetrics::new(builder, "send", to),
            received: SnapshotsMetrics::new(builder, "receive", from),
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
                sent: self.sent.of(&name),
                received: self.received.of(&name),
            }
        })
    }
}
