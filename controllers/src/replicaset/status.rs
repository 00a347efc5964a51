//! The next status of a ReplicaSet, or of what has the same fields.
//! Source: `pkg/controller/replicaset/replica_set_utils.go`, `updateReplicaSetStatus`, `calculateStatus` (1.36).

use super::plan::Status;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What to write in the place of `before`; nothing if that says the same.
pub fn next(before: &ReplicaSetStatus, observed: &Status, now: Timestamp) -> Option<ReplicaSetStatus> {
    let mut conditions = before.conditions.clone().unwrap_or_default();
    let had = conditions
        .iter()
        .any(|condition| condition.type_ == "ReplicaFailure");
    match &observed.failure {
        Some((reason, message)) if !had => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(reason.clone()),
            message: Some(message.clone()),
            last_transition_time: Some(Time(now)),
        }),
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
        Some(_) => {}
    }
    let after = ReplicaSetStatus {
        replicas: observed.replicas,
        fully_labeled_replicas: Some(observed.fully_labeled_replicas).filter(|&n| n != 0),
        ready_replicas: Some(observed.ready_replicas).filter(|&n| n != 0),
        available_replicas: Some(observed.available_replicas).filter(|&n| n != 0),
        terminating_replicas: observed.terminating_replicas,
        observed_generation: Some(observed.observed_generation).filter(|&n| n != 0),
        conditions: Some(conditions).filter(|all| !all.is_empty()),
    };
    (normal(before) != normal(&after)).then_some(after)
}

/// Absent and zero are the same number.
fn normal(status: &ReplicaSetStatus) -> ReplicaSetStatus {
    ReplicaSetStatus {
        fully_labeled_replicas: Some(status.fully_labeled_replicas.unwrap_or(0)),
        ready_replicas: Some(status.ready_replicas.unwrap_or(0)),
        available_replicas: Some(status.available_replicas.unwrap_or(0)),
        observed_generation: Some(status.observed_generation.unwrap_or(0)),
        conditions: Some(status.conditions.clone().unwrap_or_default()),
        // An older server may not keep this field; writing it forever would never settle.
        terminating_replicas: None,
        ..status.clone()
    }
}
