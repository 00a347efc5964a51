//! How long this member's clients wait for what goes through the log.

use super::build::{Builder, DISK};
use kvstore_core::Command;
use prometheus::{Histogram, HistogramVec};
use std::sync::OnceLock;
use std::time::Duration;

/// Labels of `etcd_server_request_duration_seconds` (etcd `server/etcdserver/v3_server.go`, `getRequestType`); what
/// isn't named is the last.
const KINDS: [&str; 22] = [
    "Put",
    "DeleteRange",
    "Txn",
    "Compaction",
    "LeaseGrant",
    "LeaseRevoke",
    "Alarm",
    "Authenticate",
    "AuthEnable",
    "AuthDisable",
    "AuthUserAdd",
    "AuthUserDelete",
    "AuthUserChangePassword",
    "AuthUserGrantRole",
    "AuthUserRevokeRole",
    "AuthRoleAdd",
    "AuthRoleGrantPermission",
    "AuthRoleRevokePermission",
    "AuthRoleDelete",
    "ClusterVersionSet",
    "ClusterMemberAttrSet",
    "Unknown",
];

fn kind(command: &Command) -> usize {
    let present = [
        command.put.is_some(),
        command.delete_range.is_some(),
        command.txn.is_some(),
        command.compaction.is_some(),
        command.lease_grant.is_some(),
        command.lease_revoke.is_some(),
        command.alarm.is_some(),
        command.authenticate.is_some(),
        command.auth_enable.is_some(),
        command.auth_disable.is_some(),
        command.auth_user_add.is_some(),
        command.auth_user_delete.is_some(),
        command.auth_user_change_password.is_some(),
        command.auth_user_grant_role.is_some(),
        command.auth_user_revoke_role.is_some(),
        command.auth_role_add.is_some(),
        command.auth_role_grant_permission.is_some(),
        command.auth_role_revoke_permission.is_some(),
        command.auth_role_delete.is_some(),
        command.cluster_version_set.is_some(),
        command.cluster_member_attr_set.is_some(),
    ];
    present
        .iter()
        .position(|present| *present)
        .unwrap_or(present.len())
}

/// The time of requests, by kind and outcome; a kind is there once it was asked for.
pub struct RequestMetrics {
    seconds: HistogramVec,
    /// By [`KINDS`]; failed, then answered.
    resolved: [[OnceLock<Histogram>; 2]; KINDS.len()],
}

impl RequestMetrics {
    pub fn new(builder: &Builder) -> Self {
        Self {
            seconds: builder.histograms(
                "etcd_server_request_duration_seconds",
                "Response latency distribution in seconds for each type.",
                DISK,
                &["type", "success"],
            ),
            resolved: Default::default(),
        }
    }

    /// A command was `answered`, a refusal included, or given up.
    pub fn ended(&self, command: &Command, answered: bool, took: Duration) {
        let at = kind(command);
        let success = if answered { "true" } else { "false" };
        self.resolved[at][usize::from(answered)]
            .get_or_init(|| self.seconds.with_label_values(&[KINDS[at], success]))
            .observe(took.as_secs_f64());
    }
}
