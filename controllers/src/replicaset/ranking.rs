//! Which pods go first when there are too many.
//! Source: `controller.ActivePodsWithRanks.Less`, `getPodsRankedByRelatedPodsOnSameNode` (1.36).

use crate::object::MetaView;
use crate::pod_state;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods to delete out of `active`. `siblings` are the active pods of related owners: a node that holds
/// more of them loses its pods first.
pub fn victims<'a>(
    active: &[&'a Arc<Pod>],
    siblings: &[Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Vec<&'a Arc<Pod>> {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in siblings.iter().filter(|pod| pod_state::is_active(pod)) {
        *on_node.entry(pod_state::node(pod)).or_default() += 1;
    }
    let mut ranked = active.to_vec();
    ranked.sort_by_cached_key(|pod| rank(pod, &on_node, now));
    ranked.truncate(count);
    ranked
}

/// Smaller goes first. Ages are compared by their logarithm: pods of nearly the same age are equal, so that the
/// tie-break by uid spreads deletions.
fn rank(pod: &Pod, on_node: &BTreeMap<&str, usize>, now: Timestamp) -> impl Ord + use<> {
    let node = pod_state::node(pod);
    let phase = match pod_state::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let ready = pod_state::ready_since(pod);
    (
        (!node.is_empty(), phase, ready.is_some(), cost(pod)),
        Reverse(on_node.get(node).copied().unwrap_or(0)),
        // Ready for a shorter time first.
        ready.map_or(0, |since| age_class(since, now)),
        Reverse(pod_state::restarts(pod)),
        // Younger first.
        age_class(pod.metadata.created_at(), now),
        pod.metadata.uid().to_owned(),
        pod.metadata.name().to_owned(),
    )
}

fn cost(pod: &Pod) -> i32 {
    pod.metadata
        .annotation(DELETION_COST)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn age_class(since: Timestamp, now: Timestamp) -> u32 {
    let seconds = now.duration_since(since).as_secs().max(0).unsigned_abs();
    u64::BITS - seconds.leading_zeros()
}
