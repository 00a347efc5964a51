//! Where a member keeps its data and where it listens.

use super::{idle, refused, served};
use crate::flag::{Flag, Kind};

const NO_BBOLT: &str = "the data are in RocksDB, which has no such setting";

pub const FLAGS: &[Flag] = &[
    served("name", Kind::Text, "default", "Name of this member."),
    served(
        "data-dir",
        Kind::Text,
        "",
        "Folder of this member's data; NAME.etcd when not given.",
    ),
    refused(
        "wal-dir",
        Kind::Text,
        "",
        "the log is part of the database in --data-dir",
    ),
    served(
        "listen-client-urls",
        Kind::Urls,
        "http://localhost:2379",
        "Where to serve clients: http, https, unix or unixs; plain and TLS may share a port.",
    ),
    served(
        "listen-client-http-urls",
        Kind::Urls,
        "",
        "Where to serve plain HTTP and JSON; --listen-client-urls then serves gRPC only.",
    ),
    served(
        "listen-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "Where to serve the other members.",
    ),
    served(
        "listen-metrics-urls",
        Kind::Urls,
        "",
        "Where to serve metrics and health besides.",
    ),
    served(
        "heartbeat-interval",
        Kind::Uint,
        "100",
        "Milliseconds between two signs of life of a leader; 50 when neither this nor --election-timeout is given.",
    ),
    served(
        "election-timeout",
        Kind::Uint,
        "1000",
        "Milliseconds without a leader before an election; 250 when neither this nor --heartbeat-interval is given.",
    ),
    idle(
        "initial-election-tick-advance",
        Kind::Bool,
        "true",
        "a member that starts never waits longer than one election timeout",
    ),
    served(
        "snapshot-count",
        Kind::Uint,
        "10000",
        "Entries of the log that are kept for members that lag; 5000 when not given.",
    ),
    idle(
        "snapshot-catchup-entries",
        Kind::Uint,
        "5000",
        "--snapshot-count says how many entries are kept for members that lag",
    ),
    idle("max-wals", Kind::Uint, "5", "the log is cut at --snapshot-count"),
    idle("max-snapshots", Kind::Uint, "5", "there are no snapshot files"),
    served(
        "quota-backend-bytes",
        Kind::Int,
        "0",
        "Bytes of data from which on writes are refused; 0 and less: no bound.",
    ),
    idle("backend-bbolt-freelist-type", Kind::Text, "", NO_BBOLT),
    idle("backend-batch-interval", Kind::Duration, "0", NO_BBOLT),
    idle("backend-batch-limit", Kind::Int, "0", NO_BBOLT),
    served("max-txn-ops", Kind::Uint, "128", "Operations in one transaction."),
    served(
        "max-request-bytes",
        Kind::Uint,
        "1572864",
        "Bytes of one request.",
    ),
    served(
        "max-concurrent-streams",
        Kind::Uint32,
        "4294967295",
        "Streams that one connection may have open at a time; 100000 when not given.",
    ),
    idle(
        "grpc-keepalive-min-time",
        Kind::Duration,
        "5s",
        "clients are not turned away for pinging often",
    ),
    served(
        "grpc-keepalive-interval",
        Kind::Duration,
        "2h",
        "How often a client's connection is pinged, 0 for never; 10s when not given.",
    ),
    served(
        "grpc-keepalive-timeout",
        Kind::Duration,
        "20s",
        "How long a ping may stay unanswered before the connection is closed.",
    ),
    refused(
        "socket-reuse-port",
        Kind::Bool,
        "false",
        "two processes that share a port would serve different data",
    ),
    idle(
        "socket-reuse-address",
        Kind::Bool,
        "false",
        "listeners always have SO_REUSEADDR",
    ),
    idle(
        "raft-read-timeout",
        Kind::Duration,
        "5s",
        "connections between members are watched by pings",
    ),
    idle(
        "raft-write-timeout",
        Kind::Duration,
        "5s",
        "connections between members are watched by pings",
    ),
];
