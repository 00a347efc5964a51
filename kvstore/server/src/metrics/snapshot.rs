//! What is read off the state when somebody asks for the metrics.

use super::build::Builder;
use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGauge, IntGaugeVec};

/// A member's state at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub member_id: u64,
    pub server_version: &'static str,
    /// `None`: not decided yet.
    pub cluster_version: Option<&'static str>,
    pub has_leader: bool,
    pub is_leader: bool,
    pub is_learner: bool,
    pub committed_index: u64,
    pub applied_index: u64,
    pub db_size: u64,
    pub db_size_in_use: u64,
    /// 0: none is set.
    pub quota: u64,
    pub keys: i64,
    pub revision: i64,
    pub compact_revision: i64,
    /// Views of the state that somebody reads from.
    pub open_reads: u64,
    pub watchers: u64,
    pub watch_streams: u64,
    pub slow_watchers: u64,
    /// Messages with events that wait in the queues of the streams.
    pub pending_messages: u64,
    pub auth_revision: u64,
    /// Open descriptors of the process, and how many it may have.
    pub descriptors: (u64, u64),
    /// Members and the names of their alarms.
    pub alarms: Vec<(u64, &'static str)>,
    /// All members.
    pub members: Vec<u64>,
    /// Those that raft talks to from this one, and whether they answer.
    pub peers: Vec<(u64, bool)>,
}

/// The gauges that a snapshot sets.
pub struct Gauges {
    server_id: IntGaugeVec,
    server_version: IntGaugeVec,
    cluster_version: IntGaugeVec,
    has_leader: IntGauge,
    is_leader: IntGauge,
    is_learner: IntGauge,
    committed: IntGauge,
    applied: IntGauge,
    db_size: IntGauge,
    db_size_in_use: IntGauge,
    quota: IntGauge,
    keys: IntGauge,
    revision: IntGauge,
    compact_revision: IntGauge,
    open_reads: IntGauge,
    watchers: IntGauge,
    watch_streams: IntGauge,
    slow_watchers: IntGauge,
    pending_events: IntGauge,
    auth_revision: IntGauge,
    descriptors_used: IntGauge,
    descriptors_limit: IntGauge,
    alarms: IntGaugeVec,
    active_peers: IntGaugeVec,
    known_peers: IntGaugeVec,
}

impl Gauges {
    pub fn new(builder: &Builder) -> Self {
        builder.register_process(ProcessCollector::for_self());
        Self {
            server_id: builder.gauges(
                "etcd_server_id",
                "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
                &["server_id"],
            ),
            server_version: builder.gauges(
                "etcd_server_version",
                "Which version is running. 1 for 'server_version' label with current version.",
                &["server_version"],
            ),
            cluster_version: builder.gauges(
                "etcd_cluster_version",
                "Which version is running. 1 for 'cluster_version' label with current cluster version",
                &["cluster_version"],
            ),
            has_leader: builder.gauge(
                "etcd_server_has_leader",
                "Whether or not a leader exists. 1 is existence, 0 is not.",
            ),
            is_leader: builder.gauge(
                "etcd_server_is_leader",
                "Whether or not this member is a leader. 1 if is, 0 otherwise.",
            ),
            is_learner: builder.gauge(
                "etcd_server_is_learner",
                "Whether or not this member is a learner. 1 if is, 0 otherwise.",
            ),
            committed: builder.gauge(
                "etcd_server_proposals_committed_total",
                "The total number of consensus proposals committed.",
            ),
            applied: builder.gauge(
                "etcd_server_proposals_applied_total",
                "The total number of consensus proposals applied.",
            ),
            db_size: builder.gauge(
                "etcd_mvcc_db_total_size_in_bytes",
                "Total size of the underlying database physically allocated in bytes.",
            ),
            db_size_in_use: builder.gauge(
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Total size of the underlying database logically in use in bytes.",
            ),
            quota: builder.gauge(
                "etcd_server_quota_backend_bytes",
                "Current backend storage quota size in bytes.",
            ),
            keys: builder.gauge("etcd_debugging_mvcc_keys_total", "Total number of keys."),
            revision: builder.gauge(
                "etcd_debugging_mvcc_current_revision",
                "The current revision of store.",
            ),
            compact_revision: builder.gauge(
                "etcd_debugging_mvcc_compact_revision",
                "The revision of the last compaction in store.",
            ),
            open_reads: builder.gauge(
                "etcd_mvcc_db_open_read_transactions",
                "The number of currently open read transactions",
            ),
            watchers: builder.gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers."),
            watch_streams: builder.gauge(
                "etcd_debugging_mvcc_watch_stream_total",
                "Total number of watch streams.",
            ),
            slow_watchers: builder.gauge(
                "etcd_debugging_mvcc_slow_watcher_total",
                "Total number of unsynced slow watchers.",
            ),
            pending_events: builder.gauge(
                "etcd_debugging_mvcc_pending_events_total",
                "Total number of messages with events that wait to be sent.",
            ),
            auth_revision: builder.gauge(
                "etcd_debugging_auth_revision",
                "The current revision of auth store.",
            ),
            descriptors_used: builder.gauge("os_fd_used", "The number of used file descriptors."),
            descriptors_limit: builder.gauge("os_fd_limit", "The file descriptor limit."),
            alarms: builder.gauges(
                "etcd_debugging_server_alarms",
                "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for 'alarm_type' label with type of this alarm",
                &["server_id", "alarm_type"],
            ),
            active_peers: builder.gauges(
                "etcd_network_active_peers",
                "The current number of active peer connections.",
                &["Local", "Remote"],
            ),
            known_peers: builder.gauges(
                "etcd_network_known_peers",
                "The current number of known peers.",
                &["Local", "Remote"],
            ),
        }
    }

    pub fn set(&self, now: &Snapshot) {
        let local = format!("{:x}", now.member_id);
        self.server_id.with_label_values(&[&local]).set(1);
        self.server_version
            .with_label_values(&[now.server_version])
            .set(1);
        // It changes: the old one must go.
        self.cluster_version.reset();
        if let Some(version) = now.cluster_version {
            self.cluster_version.with_label_values(&[version]).set(1);
        }
        let unsigned = |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        self.has_leader.set(i64::from(now.has_leader));
        self.is_leader.set(i64::from(now.is_leader));
        self.is_learner.set(i64::from(now.is_learner));
        unsigned(&self.committed, now.committed_index);
        unsigned(&self.applied, now.applied_index);
        unsigned(&self.db_size, now.db_size);
        unsigned(&self.db_size_in_use, now.db_size_in_use);
        unsigned(&self.quota, now.quota);
        self.keys.set(now.keys);
        self.revision.set(now.revision);
        self.compact_revision.set(now.compact_revision);
        unsigned(&self.open_reads, now.open_reads);
        unsigned(&self.watchers, now.watchers);
        unsigned(&self.watch_streams, now.watch_streams);
        unsigned(&self.slow_watchers, now.slow_watchers);
        unsigned(&self.pending_events, now.pending_messages);
        unsigned(&self.auth_revision, now.auth_revision);
        unsigned(&self.descriptors_used, now.descriptors.0);
        unsigned(&self.descriptors_limit, now.descriptors.1);
        self.alarms.reset();
        for (member, alarm) in &now.alarms {
            self.alarms
                .with_label_values(&[format!("{member:x}").as_str(), *alarm])
                .set(1);
        }
        self.active_peers.reset();
        self.known_peers.reset();
        for (peer, connected) in &now.peers {
            self.active_peers
                .with_label_values(&[local.as_str(), &format!("{peer:x}")])
                .set(i64::from(*connected));
        }
        // This one is known to itself (etcd `server/etcdserver/api/membership/cluster.go`, `buildMembershipMetric`).
        for member in &now.members {
            self.known_peers
                .with_label_values(&[local.as_str(), &format!("{member:x}")])
                .set(1);
        }
    }
}
