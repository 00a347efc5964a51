//! Which members make the cluster.

use super::{idle, refused, served};
use crate::flag::{Flag, Kind};

const NO_DISCOVERY: &str = "there is no discovery: name the members with --initial-cluster";
const ONLY_DISCOVERY: &str = "it only concerns discovery, which there is not";

pub const FLAGS: &[Flag] = &[
    served(
        "initial-advertise-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "Where the other members reach this one.",
    ),
    served(
        "advertise-client-urls",
        Kind::Urls,
        "http://localhost:2379",
        "Where clients reach this member, as `member list` tells them.",
    ),
    served(
        "initial-cluster",
        Kind::Text,
        "default=http://localhost:2380",
        "NAME=URL of every member, this one included, separated by commas; for the first start.",
    ),
    served(
        "initial-cluster-state",
        Kind::Choice(&["new", "existing"]),
        "new",
        "`new` to found a cluster, `existing` to join one to which this member was added.",
    ),
    served(
        "initial-cluster-token",
        Kind::Text,
        "etcd-cluster",
        "A word that tells clusters with the same members apart.",
    ),
    served(
        "strict-reconfig-check",
        Kind::Bool,
        "true",
        "Refuse changes of members that would endanger the quorum.",
    ),
    served(
        "max-learners",
        Kind::Int,
        "1",
        "Learners that the cluster may have at a time.",
    ),
    served(
        "force-new-cluster",
        Kind::Bool,
        "false",
        "Make a cluster of this member alone, with the data it has. Unsafe.",
    ),
    idle(
        "pre-vote",
        Kind::Bool,
        "true",
        "members always ask before they call an election",
    ),
    refused("discovery-srv", Kind::Text, "", NO_DISCOVERY),
    refused("discovery-srv-name", Kind::Text, "", NO_DISCOVERY),
    refused("discovery-endpoints", Kind::Set, "", NO_DISCOVERY),
    refused("discovery-token", Kind::Text, "", NO_DISCOVERY),
    idle("discovery-dial-timeout", Kind::Duration, "2s", ONLY_DISCOVERY),
    idle("discovery-request-timeout", Kind::Duration, "5s", ONLY_DISCOVERY),
    idle("discovery-keepalive-time", Kind::Duration, "2s", ONLY_DISCOVERY),
    idle(
        "discovery-keepalive-timeout",
        Kind::Duration,
        "6s",
        ONLY_DISCOVERY,
    ),
    idle("discovery-insecure-transport", Kind::Bool, "true", ONLY_DISCOVERY),
    idle(
        "discovery-insecure-skip-tls-verify",
        Kind::Bool,
        "false",
        ONLY_DISCOVERY,
    ),
    idle("discovery-cert", Kind::Text, "", ONLY_DISCOVERY),
    idle("discovery-key", Kind::Text, "", ONLY_DISCOVERY),
    idle("discovery-cacert", Kind::Text, "", ONLY_DISCOVERY),
    idle("discovery-user", Kind::Text, "", ONLY_DISCOVERY),
    idle("discovery-password", Kind::Text, "", ONLY_DISCOVERY),
];
