//! What a pod's status says. Source: `pkg/api/v1/pod/util.go`, `pkg/controller/controller_utils.go` (1.36).

use crate::object::MetaView;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use std::time::Duration;

pub fn status(pod: &Pod) -> Option<&PodStatus> {
    pod.status.as_ref()
}

pub fn phase(pod: &Pod) -> &str {
    status(pod)
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

pub fn node(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    status(pod)?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// `Succeeded` or `Failed`.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Counts towards a workload's replicas: not finished, not being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !pod.metadata.is_terminating()
}

/// When the pod became ready, if it is.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    Some(
        ready
            .last_transition_time
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    )
}

/// Ready for at least `min_ready_seconds`.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    ready_since(pod).is_some_and(|since| {
        min_ready_seconds <= 0
            || now.duration_since(since) >= SignedDuration::from_secs(min_ready_seconds.into())
    })
}

/// How long until a ready pod becomes available; `None` if it already is, or isn't ready.
pub fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let since = ready_since(pod)?;
    let left = SignedDuration::from_secs(min_ready_seconds.into()) - now.duration_since(since);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

/// Restarts over all containers.
pub fn restarts(pod: &Pod) -> i64 {
    status(pod)
        .and_then(|status| status.container_statuses.as_ref())
        .into_iter()
        .flatten()
        .map(|container| i64::from(container.restart_count))
        .sum()
}
