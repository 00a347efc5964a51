//! What the state machine, the log and the leader count and measure.

use super::build::{Buckets, Builder, DISK};
use crate::store::Reply;
use kvstore_core::Command;
use prometheus::{Histogram, IntCounter, IntGauge};
use proto::mvccpb::Event;
use proto::mvccpb::event::EventType;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An apply or a confirmation of a read that takes longer is slow (etcd `--warning-apply-duration`, and
/// the retry of a read index).
const SLOW_APPLY: Duration = Duration::from_millis(100);
const SLOW_READ_INDEX: Duration = Duration::from_millis(500);

/// Labels of `etcd_server_apply_duration_seconds`; what isn't named is the last.
const OPERATIONS: [&str; 9] = [
    "Put",
    "Txn",
    "DeleteRange",
    "Compaction",
    "LeaseGrant",
    "LeaseRevoke",
    "Alarm",
    "ClusterMemberAttrSet",
    "Other",
];

fn operation(command: &Command) -> usize {
    let present = [
        command.put.is_some(),
        command.txn.is_some(),
        command.delete_range.is_some(),
        command.compaction.is_some(),
        command.lease_grant.is_some(),
        command.lease_revoke.is_some(),
        command.alarm.is_some(),
        command.cluster_member_attr_set.is_some(),
    ];
    present
        .iter()
        .position(|present| *present)
        .unwrap_or(present.len())
}

/// Counters and histograms of one member's state.
pub struct StateMetrics {
    pub puts: IntCounter,
    pub deletes: IntCounter,
    pub txns: IntCounter,
    pub ranges: IntCounter,
    put_bytes: IntGauge,
    /// Refused, then answered.
    range_seconds: [Histogram; 2],
    /// By [`OPERATIONS`]; refused, then done.
    apply: [[Histogram; 2]; OPERATIONS.len()],
    slow_applies: IntCounter,
    /// Writes of applied entries to the engine.
    pub backend_commit: Histogram,
    pub wal_fsync: Histogram,
    pub wal_write: Histogram,
    pub wal_bytes: IntGauge,
    proposals_pending: IntGauge,
    proposals_failed: IntCounter,
    slow_read_indexes: IntCounter,
    read_indexes_failed: IntCounter,
    leader_changes: IntCounter,
    /// The leader seen last; 0: none yet.
    leader: AtomicU64,
    pub heartbeats_failed: IntCounter,
    leases_granted: IntCounter,
    leases_revoked: IntCounter,
    pub leases_renewed: IntCounter,
    pub leases_expired: IntCounter,
    lease_ttl: Histogram,
    pub events_sent: IntCounter,
    pub hash: Histogram,
    pub hash_at_revision: Histogram,
    /// Dumps of the state for members that need it whole.
    pub backend_snapshot: Histogram,
    /// Calls of Defragment: none of them holds anyone up.
    pub defrag: Histogram,
    pub snapshot_applying: IntGauge,
    pub health_success: IntCounter,
    pub health_failures: IntCounter,
}

impl StateMetrics {
    pub fn new(builder: &Builder) -> Self {
        let applies = Buckets {
            start: 0.0001,
            factor: 2.0,
            count: 20,
        };
        let hashes = Buckets {
            start: 0.01,
            factor: 2.0,
            count: 15,
        };
        // It stays 0: there is no time at which this member doesn't serve because of it.
        builder.gauge(
            "etcd_disk_defrag_inflight",
            "Whether or not defrag is active on the member. 1 means active, 0 means not.",
        );
        let apply = builder.histograms(
            "etcd_server_apply_duration_seconds",
            "The latency distributions of v3 apply called by backend.",
            applies,
            &["version", "op", "success"],
        );
        let range = builder.histograms(
            "etcd_server_range_duration_seconds",
            "The latency distributions of txn.Range",
            applies,
            &["success"],
        );
        Self {
            puts: builder.counter("etcd_mvcc_put_total", "Total number of puts seen by this member."),
            deletes: builder.counter(
                "etcd_mvcc_delete_total",
                "Total number of deletes seen by this member.",
            ),
            txns: builder.counter("etcd_mvcc_txn_total", "Total number of txns seen by this member."),
            ranges: builder.counter(
                "etcd_mvcc_range_total",
                "Total number of ranges seen by this member.",
            ),
            put_bytes: builder.gauge(
                "etcd_debugging_mvcc_total_put_size_in_bytes",
                "The total size of put kv pairs seen by this member.",
            ),
            range_seconds: ["false", "true"].map(|success| range.with_label_values(&[success])),
            apply: OPERATIONS.map(|operation| {
                ["false", "true"].map(|success| apply.with_label_values(&["v3", operation, success]))
            }),
            slow_applies: builder.counter(
                "etcd_server_slow_apply_total",
                "The total number of slow apply requests (likely overloaded from slow disk).",
            ),
            backend_commit: builder.histogram(
                "etcd_disk_backend_commit_duration_seconds",
                "The latency distributions of commit called by backend.",
                DISK,
            ),
            wal_fsync: builder.histogram(
                "etcd_disk_wal_fsync_duration_seconds",
                "The latency distributions of fsync called by WAL.",
                DISK,
            ),
            wal_write: builder.histogram(
                "etcd_disk_wal_write_duration_seconds",
                "The latency distributions of write called by WAL.",
                DISK,
            ),
            wal_bytes: builder.gauge(
                "etcd_disk_wal_write_bytes_total",
                "Total number of bytes written in WAL.",
            ),
            proposals_pending: builder.gauge(
                "etcd_server_proposals_pending",
                "The current number of pending proposals to commit.",
            ),
            proposals_failed: builder.counter(
                "etcd_server_proposals_failed_total",
                "The total number of failed proposals seen.",
            ),
            slow_read_indexes: builder.counter(
                "etcd_server_slow_read_indexes_total",
                "The total number of pending read indexes not in sync with leader's or timed out read index requests.",
            ),
            read_indexes_failed: builder.counter(
                "etcd_server_read_indexes_failed_total",
                "The total number of failed read indexes seen.",
            ),
            leader_changes: builder.counter(
                "etcd_server_leader_changes_seen_total",
                "The number of leader changes seen.",
            ),
            leader: AtomicU64::new(0),
            heartbeats_failed: builder.counter(
                "etcd_server_heartbeat_send_failures_total",
                "The total number of leader heartbeat send failures (likely overloaded from slow disk).",
            ),
            leases_granted: builder.counter(
                "etcd_debugging_lease_granted_total",
                "The total number of granted leases.",
            ),
            leases_revoked: builder.counter(
                "etcd_debugging_lease_revoked_total",
                "The total number of revoked leases.",
            ),
            leases_renewed: builder.counter(
                "etcd_debugging_lease_renewed_total",
                "The number of renewed leases seen by the leader.",
            ),
            leases_expired: builder.counter(
                "etcd_debugging_server_lease_expired_total",
                "The total number of expired leases.",
            ),
            lease_ttl: builder.histogram(
                "etcd_debugging_lease_ttl_total",
                "Bucketed histogram of lease TTLs.",
                Buckets {
                    start: 1.0,
                    factor: 2.0,
                    count: 24,
                },
            ),
            events_sent: builder.counter(
                "etcd_debugging_mvcc_events_total",
                "Total number of events sent by this member.",
            ),
            hash: builder.histogram(
                "etcd_mvcc_hash_duration_seconds",
                "The latency distribution of storage hash operation.",
                hashes,
            ),
            hash_at_revision: builder.histogram(
                "etcd_mvcc_hash_rev_duration_seconds",
                "The latency distribution of storage hash by revision operation.",
                hashes,
            ),
            backend_snapshot: builder.histogram(
                "etcd_disk_backend_snapshot_duration_seconds",
                "The latency distribution of backend snapshots.",
                Buckets { count: 17, ..hashes },
            ),
            defrag: builder.histogram(
                "etcd_disk_backend_defrag_duration_seconds",
                "The latency distribution of backend defragmentation.",
                Buckets {
                    start: 0.1,
                    count: 13,
                    ..hashes
                },
            ),
            snapshot_applying: builder.gauge(
                "etcd_server_snapshot_apply_in_progress_total",
                "1 if the server is applying the incoming snapshot. 0 if none.",
            ),
            health_success: builder.counter(
                "etcd_server_health_success",
                "The total number of successful health checks",
            ),
            health_failures: builder.counter(
                "etcd_server_health_failures",
                "The total number of failed health checks",
            ),
        }
    }

    /// One command has been applied; not yet written to the engine.
    pub fn applied(&self, command: &Command, reply: &Reply, events: &[Event], took: Duration) {
        self.apply[operation(command)][usize::from(reply.is_ok())].observe(took.as_secs_f64());
        let (mut puts, mut bytes) = (0, 0);
        for event in events.iter().filter(|event| event.r#type() == EventType::Put) {
            puts += 1;
            bytes += event.kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
        }
        self.puts.inc_by(puts as u64);
        self.put_bytes.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.deletes.inc_by((events.len() - puts) as u64);
        if command.txn.is_some() {
            self.txns.inc();
        }
        match (reply, &command.lease_grant, &command.lease_revoke) {
            (Ok(_), Some(grant), _) => {
                self.leases_granted.inc();
                self.lease_ttl.observe(grant.ttl as f64);
            }
            (Ok(_), _, Some(_)) => self.leases_revoked.inc(),
            _ => {}
        }
    }

    /// A range was looked up.
    pub fn range(&self, answered: bool, took: Duration) {
        self.range_seconds[usize::from(answered)].observe(took.as_secs_f64());
    }

    /// A batch of commands has been written to the engine: `took` in all, `write` of it for the engine.
    pub fn committed(&self, took: Duration, write: Duration) {
        self.backend_commit.observe(write.as_secs_f64());
        if took > SLOW_APPLY {
            self.slow_applies.inc();
        }
    }

    /// A proposal is under way until the guard is told that it is done.
    pub fn proposal(&self) -> Proposal<'_> {
        self.proposals_pending.inc();
        Proposal {
            metrics: self,
            done: false,
        }
    }

    pub fn read_index(&self, confirmed: bool, took: Duration) {
        if !confirmed {
            self.read_indexes_failed.inc();
        }
        if took > SLOW_READ_INDEX {
            self.slow_read_indexes.inc();
        }
    }

    /// The leader that this member knows of, as often as anyone looks.
    pub fn saw_leader(&self, leader: Option<u64>) {
        if let Some(leader) = leader
            && self.leader.swap(leader, Ordering::Relaxed) != leader
        {
            self.leader_changes.inc();
        }
    }
}

/// A proposal under way; one that is dropped before its end has failed.
pub struct Proposal<'a> {
    metrics: &'a StateMetrics,
    done: bool,
}

impl Proposal<'_> {
    pub fn done(&mut self) {
        self.done = true;
    }
}

impl Drop for Proposal<'_> {
    fn drop(&mut self) {
        self.metrics.proposals_pending.dec();
        if !self.done {
            self.metrics.proposals_failed.inc();
        }
    }
}
