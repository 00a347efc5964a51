//! Names of etcd 3.4 to 3.6 and of long before.

use super::{flag, idle, refused};
use crate::flag::{Flag, Kind, Standing};

const NO_V2: &str = "the v2 API is gone";
const NO_PROXY: &str = "the v2 proxy is gone";

const fn renamed(old: &'static str, kind: Kind, default: &'static str, new: &'static str) -> Flag {
    flag(old, kind, default, Standing::Renamed(new), "")
}

const fn gate(old: &'static str, default: &'static str, name: &'static str) -> Flag {
    flag(old, Kind::Bool, default, Standing::Gate(name), "")
}

const fn ignored(name: &'static str) -> Flag {
    idle(name, Kind::Ignored, "", "etcd has been ignoring it for years")
}

pub const FLAGS: &[Flag] = &[
    gate(
        "experimental-initial-corrupt-check",
        "false",
        "InitialCorruptCheck",
    ),
    gate(
        "experimental-compact-hash-check-enabled",
        "false",
        "CompactHashCheck",
    ),
    gate("experimental-enable-lease-checkpoint", "false", "LeaseCheckpoint"),
    gate(
        "experimental-enable-lease-checkpoint-persist",
        "false",
        "LeaseCheckpointPersist",
    ),
    gate(
        "experimental-txn-mode-write-with-shared-buffer",
        "true",
        "TxnModeWriteWithSharedBuffer",
    ),
    gate(
        "experimental-stop-grpc-service-on-defrag",
        "false",
        "StopGRPCServiceOnDefrag",
    ),
    gate("experimental-set-member-localaddr", "false", "SetMemberLocalAddr"),
    renamed(
        "experimental-corrupt-check-time",
        Kind::Duration,
        "0",
        "corrupt-check-time",
    ),
    renamed(
        "experimental-compact-hash-check-time",
        Kind::Duration,
        "1m",
        "compact-hash-check-time",
    ),
    renamed(
        "experimental-compaction-batch-limit",
        Kind::Int,
        "0",
        "compaction-batch-limit",
    ),
    renamed(
        "experimental-compaction-sleep-interval",
        Kind::Duration,
        "0",
        "compaction-sleep-interval",
    ),
    renamed(
        "experimental-watch-progress-notify-interval",
        Kind::Duration,
        "10m",
        "watch-progress-notify-interval",
    ),
    renamed(
        "experimental-downgrade-check-time",
        Kind::Duration,
        "5s",
        "downgrade-check-time",
    ),
    renamed(
        "experimental-warning-apply-duration",
        Kind::Duration,
        "100ms",
        "warning-apply-duration",
    ),
    renamed(
        "experimental-warning-unary-request-duration",
        Kind::Duration,
        "300ms",
        "warning-unary-request-duration",
    ),
    renamed("experimental-memory-mlock", Kind::Bool, "false", "memory-mlock"),
    renamed(
        "experimental-bootstrap-defrag-threshold-megabytes",
        Kind::Uint,
        "0",
        "bootstrap-defrag-threshold-megabytes",
    ),
    renamed("experimental-max-learners", Kind::Int, "1", "max-learners"),
    renamed(
        "experimental-snapshot-catch-up-entries",
        Kind::Uint,
        "5000",
        "snapshot-catchup-entries",
    ),
    renamed(
        "experimental-snapshot-catchup-entries",
        Kind::Uint,
        "5000",
        "snapshot-catchup-entries",
    ),
    renamed(
        "experimental-peer-skip-client-san-verification",
        Kind::Bool,
        "false",
        "peer-skip-client-san-verification",
    ),
    renamed(
        "experimental-backend-bbolt-freelist-type",
        Kind::Text,
        "",
        "backend-bbolt-freelist-type",
    ),
    renamed(
        "experimental-enable-distributed-tracing",
        Kind::Bool,
        "false",
        "enable-distributed-tracing",
    ),
    renamed(
        "experimental-distributed-tracing-address",
        Kind::Text,
        "localhost:4317",
        "distributed-tracing-address",
    ),
    renamed(
        "experimental-distributed-tracing-service-name",
        Kind::Text,
        "etcd",
        "distributed-tracing-service-name",
    ),
    renamed(
        "experimental-distributed-tracing-instance-id",
        Kind::Text,
        "",
        "distributed-tracing-instance-id",
    ),
    renamed(
        "experimental-distributed-tracing-sampling-rate",
        Kind::Int,
        "0",
        "distributed-tracing-sampling-rate",
    ),
    idle(
        "experimental-wait-cluster-ready-timeout",
        Kind::Duration,
        "5s",
        "a member says that it is ready once it has a leader",
    ),
    refused("experimental-enable-v2v3", Kind::Text, "", NO_V2),
    refused("enable-v2", Kind::Bool, "false", NO_V2),
    idle("v2-deprecation", Kind::Text, "", NO_V2),
    refused(
        "discovery",
        Kind::Text,
        "",
        "v2 discovery is gone: name the members with --initial-cluster",
    ),
    refused("discovery-proxy", Kind::Text, "", "v2 discovery is gone"),
    idle(
        "discovery-fallback",
        Kind::Choice(&["exit", "proxy"]),
        "exit",
        "it only concerns discovery, which there is not",
    ),
    refused("proxy", Kind::Choice(&["off", "readonly", "on"]), "off", NO_PROXY),
    idle("proxy-failure-wait", Kind::Uint, "5000", NO_PROXY),
    idle("proxy-refresh-interval", Kind::Uint, "30000", NO_PROXY),
    idle("proxy-dial-timeout", Kind::Uint, "1000", NO_PROXY),
    idle("proxy-write-timeout", Kind::Uint, "5000", NO_PROXY),
    idle("proxy-read-timeout", Kind::Uint, "0", NO_PROXY),
    idle("debug", Kind::Bool, "false", "say --log-level=debug"),
    idle("log-package-levels", Kind::Text, "", "say --log-level"),
    ignored("cluster-active-size"),
    ignored("cluster-remove-delay"),
    ignored("cluster-sync-interval"),
    ignored("config"),
    ignored("force"),
    ignored("max-result-buffer"),
    ignored("max-retry-attempts"),
    ignored("peer-heartbeat-interval"),
    ignored("peer-election-timeout"),
    ignored("retry-interval"),
    ignored("snapshot"),
    ignored("v"),
    ignored("vv"),
    ignored("test.coverprofile"),
    ignored("test.outputdir"),
];
