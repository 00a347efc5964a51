//! Logs, compaction, checks, metrics.

use super::{idle, refused, served};
use crate::flag::{Flag, Kind};

const NO_TRACING: &str = "there is no exporter of traces";
const ONLY_TRACING: &str = "it only concerns tracing, which there is not";

pub const FLAGS: &[Flag] = &[
    served(
        "config-file",
        Kind::Text,
        "",
        "A YAML file with the configuration; flags and environment then don't count.",
    ),
    served("version", Kind::Bool, "false", "Print the version and end."),
    served(
        "log-level",
        Kind::Text,
        "info",
        "debug, info, warn, error, panic or fatal.",
    ),
    served("log-format", Kind::Text, "json", "json or console."),
    served(
        "log-outputs",
        Kind::Set,
        "default",
        "Where to log: stderr, stdout, systemd/journal, or a file; several are separated by commas.",
    ),
    served("logger", Kind::Text, "zap", "Only zap."),
    refused(
        "enable-log-rotation",
        Kind::Bool,
        "false",
        "log files are rotated by logrotate or the like",
    ),
    idle(
        "log-rotation-config-json",
        Kind::Text,
        r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
        "log files are rotated by logrotate or the like",
    ),
    served(
        "auto-compaction-mode",
        Kind::Text,
        "periodic",
        "What --auto-compaction-retention counts: periodic (time) or revision.",
    ),
    served(
        "auto-compaction-retention",
        Kind::Text,
        "0",
        "How much history is kept: hours or a duration, or revisions; 0: all of it.",
    ),
    served(
        "watch-progress-notify-interval",
        Kind::Duration,
        "10m",
        "How often an idle watcher that asked for it hears of the revision.",
    ),
    served(
        "corrupt-check-time",
        Kind::Duration,
        "0",
        "How often the members compare their data; 0: never.",
    ),
    served(
        "compact-hash-check-time",
        Kind::Duration,
        "1m",
        "How often the leader compares the members' hashes of compacted data.",
    ),
    served(
        "compaction-batch-limit",
        Kind::Int,
        "0",
        "Versions that one step of a compaction visits; 1000 when 0.",
    ),
    served(
        "compaction-sleep-interval",
        Kind::Duration,
        "0",
        "Pause between two steps of a compaction; 5ms when not given.",
    ),
    served(
        "feature-gates",
        Kind::Gates,
        "",
        "NAME=true or NAME=false, separated by commas: InitialCorruptCheck, CompactHashCheck.",
    ),
    served(
        "enable-grpc-gateway",
        Kind::Bool,
        "true",
        "Serve JSON under /v3/.",
    ),
    served(
        "metrics",
        Kind::Text,
        "basic",
        "'extensive' measures the time of gRPC calls as well.",
    ),
    idle(
        "enable-pprof",
        Kind::Bool,
        "false",
        "there is no Go runtime to profile",
    ),
    refused("enable-distributed-tracing", Kind::Bool, "false", NO_TRACING),
    idle(
        "distributed-tracing-address",
        Kind::Text,
        "localhost:4317",
        ONLY_TRACING,
    ),
    idle(
        "distributed-tracing-service-name",
        Kind::Text,
        "etcd",
        ONLY_TRACING,
    ),
    idle("distributed-tracing-instance-id", Kind::Text, "", ONLY_TRACING),
    idle("distributed-tracing-sampling-rate", Kind::Int, "0", ONLY_TRACING),
    idle(
        "downgrade-check-time",
        Kind::Duration,
        "5s",
        "members decide about downgrades when they are asked",
    ),
    idle(
        "warning-apply-duration",
        Kind::Duration,
        "100ms",
        "slow applies are counted, not logged",
    ),
    served(
        "warning-unary-request-duration",
        Kind::Duration,
        "300ms",
        "Requests that take longer are logged, as \"request stats\"; 0: none.",
    ),
    idle(
        "memory-mlock",
        Kind::Bool,
        "false",
        "the data are not mapped into memory",
    ),
    idle(
        "bootstrap-defrag-threshold-megabytes",
        Kind::Uint,
        "0",
        "Skipping defragmentation: free space is given back while the member runs",
    ),
    idle(
        "unsafe-no-fsync",
        Kind::Bool,
        "false",
        "every acknowledged write is synced all the same",
    ),
];
