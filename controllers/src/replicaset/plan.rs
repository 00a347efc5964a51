//! The plan of anything that keeps a number of equal pods: ReplicaSets and ReplicationControllers.
//! Source: `pkg/controller/replicaset/replica_set.go`, `replica_set_utils.go` (1.36).
//!
//! Invariants:
//! - Only pods controlled by the owner (by uid) are counted or deleted.
//! - The status is written before pods are created or deleted: it describes what was observed, and a failing
//!   creation can't keep it from being written.

use super::ranking;
use crate::action::Action;
use crate::action::Plan;
use crate::object::MetaView;
use crate::pod_state;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::sync::Arc;
use std::time::Duration;

/// Pods created or deleted in one plan, so that one huge owner can't starve the rest.
const BURST: usize = 500;

/// What a set of replicas asks for.
pub struct Replicas<'a> {
    pub meta: &'a ObjectMeta,
    pub reference: OwnerReference,
    pub count: i32,
    pub min_ready_seconds: i32,
    pub template: &'a PodTemplateSpec,
}

/// The status fields that both kinds share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub replicas: i32,
    pub fully_labeled_replicas: i32,
    pub ready_replicas: i32,
    pub available_replicas: i32,
    pub terminating_replicas: Option<i32>,
    pub observed_generation: i64,
    /// Reason and message of the `ReplicaFailure` condition, if it's set.
    pub failure: Option<(String, String)>,
}

/// What the plan decided; the caller knows how its kind writes a status.
pub struct Decision {
    pub status: Status,
    pub pods: Plan,
}

/// `owned`: all pods that the owner controls. `siblings`: the pods of related owners, for the spread rule of
/// deletions. `failed`: why the last attempt to create or delete pods failed.
pub fn decide(
    replicas: &Replicas<'_>,
    owned: &[Arc<Pod>],
    siblings: &[Arc<Pod>],
    failed: Option<&str>,
    now: Timestamp,
) -> Decision {
    let active: Vec<&Arc<Pod>> = owned.iter().filter(|pod| pod_state::is_active(pod)).collect();
    let wanted = usize::try_from(replicas.count).unwrap_or(0);
    let mut pods = Plan::nothing();
    if !replicas.meta.is_terminating() {
        if active.len() < wanted {
            let missing = (wanted - active.len()).min(BURST);
            let pod = crate::pod_template::pod_from_template(
                replicas.template,
                replicas.meta,
                replicas.reference.clone(),
            );
            pods.push(Action::Batch(vec![Action::create(&pod); missing]));
        } else if active.len() > wanted {
            let surplus = (active.len() - wanted).min(BURST);
            let victims = ranking::victims(&active, siblings, surplus, now);
            pods.push(Action::Batch(
                victims
                    .into_iter()
                    .map(|pod| Action::delete(pod.as_ref()))
                    .collect(),
            ));
        }
    }
    if let Some(delay) = next_availability(&active, replicas.min_ready_seconds, now) {
        pods.look_again(delay);
    }
    let status = observe(replicas, &active, owned, failed, wanted);
    let status = Status {
        available_replicas: count(&active, |pod| {
            pod_state::is_available(pod, replicas.min_ready_seconds, now)
        }),
        ..status
    };
    Decision { status, pods }
}

fn observe(
    replicas: &Replicas<'_>,
    active: &[&Arc<Pod>],
    owned: &[Arc<Pod>],
    failed: Option<&str>,
    wanted: usize,
) -> Status {
    let template_labels = replicas
        .template
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.clone());
    let template_labels = template_labels.unwrap_or_default();
    let terminating = owned
        .iter()
        .filter(|pod| pod.metadata.is_terminating() && !pod_state::is_finished(pod))
        .count();
    Status {
        replicas: size(active.len()),
        fully_labeled_replicas: count(active, |pod| {
            crate::selector::includes(pod.metadata.labels.as_ref(), &template_labels)
        }),
        ready_replicas: count(active, pod_state::is_ready),
        available_replicas: 0,
        terminating_replicas: Some(size(terminating)),
        observed_generation: replicas.meta.generation.unwrap_or(0),
        failure: failed.filter(|_| active.len() != wanted).map(|message| {
            let reason = if active.len() < wanted {
                "FailedCreate"
            } else {
                "FailedDelete"
            };
            (reason.to_owned(), message.to_owned())
        }),
    }
}

fn next_availability(active: &[&Arc<Pod>], min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    if min_ready_seconds <= 0 {
        return None;
    }
    active
        .iter()
        .filter_map(|pod| pod_state::available_in(pod, min_ready_seconds, now))
        .min()
}

fn count(pods: &[&Arc<Pod>], holds: impl Fn(&Pod) -> bool) -> i32 {
    size(pods.iter().filter(|pod| holds(pod)).count())
}

fn size(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
