//! The Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure.
//! Source: `pkg/controller/deployment/progress.go`, `sync.go` `calculateStatus` (1.36).

use super::observed::{Observed, Revisions, Wishes, actual, available};
use crate::action::{Action, Plan};
use crate::object::MetaView;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

const NEW_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// Adds the status write, if anything changed, and the look at the progress deadline.
pub fn write(plan: &mut Plan, observed: &Observed, wishes: &Wishes, revisions: &Revisions) {
    let deployment = observed.deployment.as_ref();
    let before = deployment.status.clone().unwrap_or_default();
    let after = compute(observed, wishes, revisions);
    if let Some(wait) = until_deadline(wishes, &after, observed.now) {
        plan.look_again(wait);
    }
    if normal(&before) != normal(&after) {
        let mut updated = deployment.clone();
        updated.status = Some(after);
        plan.push(Action::update_status(&updated));
    }
}

/// Source: `deployment/util.DeploymentComplete` (1.36).
pub fn is_complete(deployment: &Deployment, wishes: &Wishes, revisions: &Revisions) -> bool {
    let status = counts(deployment, wishes, revisions);
    complete(wishes, &status)
}

fn complete(wishes: &Wishes, status: &DeploymentStatus) -> bool {
    status.updated_replicas == Some(wishes.replicas)
        && status.replicas == Some(wishes.replicas)
        && status.available_replicas == Some(wishes.replicas)
}

fn counts(deployment: &Deployment, _wishes: &Wishes, revisions: &Revisions) -> DeploymentStatus {
    let before = deployment.status.as_ref();
    let total: i32 = revisions.all().map(|set| actual(set)).sum();
    let available_replicas: i32 = revisions.all().map(|set| available(set)).sum();
    let status_sum = |field: fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> Option<i32>| -> i32 {
        revisions
            .all()
            .filter_map(|set| set.status.as_ref().and_then(field))
            .sum()
    };
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(total),
        updated_replicas: Some(revisions.new.as_ref().map_or(0, |set| actual(set))),
        ready_replicas: Some(status_sum(|status| status.ready_replicas)),
        available_replicas: Some(available_replicas),
        unavailable_replicas: Some((total - available_replicas).max(0)),
        terminating_replicas: Some(status_sum(|status| status.terminating_replicas)),
        collision_count: before.and_then(|status| status.collision_count),
        conditions: before.and_then(|status| status.conditions.clone()),
    }
}

fn compute(observed: &Observed, wishes: &Wishes, revisions: &Revisions) -> DeploymentStatus {
    let deployment = observed.deployment.as_ref();
    let mut status = counts(deployment, wishes, revisions);
    let mut conditions = Conditions {
        all: status.conditions.take().unwrap_or_default(),
        now: observed.now,
    };
    if status.available_replicas.unwrap_or(0) >= wishes.replicas - wishes.max_unavailable {
        let message = "Deployment has minimum availability.";
        conditions.set("Available", "True", "MinimumReplicasAvailable", message.into());
    } else {
        let message = "Deployment does not have minimum availability.";
        conditions.set("Available", "False", "MinimumReplicasUnavailable", message.into());
    }
    progressing(observed, wishes, revisions, &status, &mut conditions);
    match replica_failure(revisions) {
        Some((reason, message)) => conditions.set("ReplicaFailure", "True", &reason, message),
        None => conditions
            .all
            .retain(|condition| condition.type_ != "ReplicaFailure"),
    }
    status.conditions = Some(conditions.all).filter(|all| !all.is_empty());
    status
}

fn progressing(
    observed: &Observed,
    wishes: &Wishes,
    revisions: &Revisions,
    status: &DeploymentStatus,
    conditions: &mut Conditions,
) {
    let deployment = observed.deployment.as_ref();
    let current = conditions.find("Progressing").cloned();
    if wishes.progress_deadline.is_none() {
        conditions
            .all
            .retain(|condition| condition.type_ != "Progressing");
        return;
    }
    let reason = current
        .as_ref()
        .and_then(|condition| condition.reason.as_deref())
        .unwrap_or_default();
    if wishes.paused {
        // A rollout that timed out keeps saying so.
        if reason != "DeploymentPaused" && reason != TIMED_OUT {
            conditions.set(
                "Progressing",
                "Unknown",
                "DeploymentPaused",
                "Deployment is paused".into(),
            );
        }
        return;
    }
    if reason == "DeploymentPaused" {
        conditions.set(
            "Progressing",
            "Unknown",
            "DeploymentResumed",
            "Deployment is resumed".into(),
        );
        return;
    }
    if reason == NEW_AVAILABLE && status.replicas == status.updated_replicas {
        return;
    }
    let subject = match &revisions.new {
        Some(new) => format!("ReplicaSet \"{}\"", new.metadata.name()),
        None => format!("Deployment \"{}\"", deployment.metadata.name()),
    };
    let before = deployment.status.clone().unwrap_or_default();
    if complete(wishes, status) {
        let message = format!("{subject} has successfully progressed.");
        conditions.set("Progressing", "True", NEW_AVAILABLE, message);
    } else if made_progress(&before, status) || (current.is_none() && revisions.new.is_some()) {
        let message = format!("{subject} is progressing.");
        conditions.touch("Progressing", "True", "ReplicaSetUpdated", message);
    } else if reason == NEW_AVAILABLE {
        // A new rollout starts; the deadline counts from here.
        let message = format!("{subject} is progressing.");
        conditions.touch("Progressing", "True", "ReplicaSetUpdated", message);
    } else if timed_out(wishes, current.as_ref(), observed.now) {
        let message = format!("{subject} has timed out progressing.");
        conditions.set("Progressing", "False", TIMED_OUT, message);
    }
}

fn made_progress(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let n = |value: Option<i32>| value.unwrap_or(0);
    let old = |status: &DeploymentStatus| n(status.replicas) - n(status.updated_replicas);
    n(after.updated_replicas) > n(before.updated_replicas)
        || old(after) < old(before)
        || n(after.ready_replicas) > n(before.ready_replicas)
        || n(after.available_replicas) > n(before.available_replicas)
}

fn timed_out(wishes: &Wishes, current: Option<&DeploymentCondition>, now: Timestamp) -> bool {
    let (Some(deadline), Some(current)) = (wishes.progress_deadline, current) else {
        return false;
    };
    match current.reason.as_deref() {
        Some(NEW_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => {
            let since = current.last_update_time.as_ref().map_or(now, |time| time.0);
            now.duration_since(since) >= SignedDuration::from_secs(deadline.into())
        }
    }
}

/// How long a rollout in progress has left.
fn until_deadline(wishes: &Wishes, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let deadline = wishes.progress_deadline?;
    let current = status
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == "Progressing")?;
    let reason = current.reason.as_deref().unwrap_or_default();
    if wishes.paused || reason == NEW_AVAILABLE || reason == TIMED_OUT {
        return None;
    }
    let since = current.last_update_time.as_ref()?.0;
    let left = SignedDuration::from_secs(deadline.into()) - now.duration_since(since);
    // A second more than needed: the next look must find the deadline passed.
    Some(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1))
}

/// The current ReplicaSet's failure counts before those of old ones.
fn replica_failure(revisions: &Revisions) -> Option<(String, String)> {
    revisions.new.iter().chain(&revisions.old).find_map(|set| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        let failure = conditions
            .iter()
            .find(|condition| condition.type_ == "ReplicaFailure")?;
        Some((
            failure.reason.clone().unwrap_or_default(),
            failure.message.clone().unwrap_or_default(),
        ))
    })
}

struct Conditions {
    all: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    fn find(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.all.iter().find(|condition| condition.type_ == kind)
    }

    /// Leaves a condition of the same status and reason alone.
    fn set(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let same = self
            .find(kind)
            .is_some_and(|current| current.status == status && current.reason.as_deref() == Some(reason));
        if !same {
            self.touch(kind, status, reason, message);
        }
    }

    /// Writes the condition with a fresh update time; the transition time changes with the status only.
    fn touch(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let transition = self
            .find(kind)
            .filter(|current| current.status == status)
            .and_then(|current| current.last_transition_time.clone());
        self.all.retain(|condition| condition.type_ != kind);
        self.all.push(DeploymentCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_update_time: Some(Time(self.now)),
            last_transition_time: transition.or(Some(Time(self.now))),
        });
    }
}

/// Absent and zero are the same number.
fn normal(status: &DeploymentStatus) -> DeploymentStatus {
    let zero = |value: Option<i32>| Some(value.unwrap_or(0));
    DeploymentStatus {
        replicas: zero(status.replicas),
        updated_replicas: zero(status.updated_replicas),
        ready_replicas: zero(status.ready_replicas),
        available_replicas: zero(status.available_replicas),
        unavailable_replicas: zero(status.unavailable_replicas),
        // An older server may not keep this field.
        terminating_replicas: None,
        observed_generation: Some(status.observed_generation.unwrap_or(0)),
        collision_count: zero(status.collision_count),
        conditions: Some(status.conditions.clone().unwrap_or_default()),
    }
}
