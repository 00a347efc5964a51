//! Scores: which of the nodes that may take a pod is best. Weights are those of upstream's default plugins.
//!
//! All nodes that passed the filters are scored; upstream samples them.

mod images;
mod inter_pod_affinity;
mod resources;
mod topology_spread;

use crate::cluster::{Cluster, NodeSlot};
use crate::pod_info::{PodInfo, SpreadConstraint};

/// The best that a plugin gives before its weight.
pub(crate) const MAX_SCORE: i64 = 100;

const TAINT_TOLERATION: i64 = 3;
const NODE_AFFINITY: i64 = 2;
const NODE_RESOURCES_FIT: i64 = 1;
const NODE_RESOURCES_BALANCED: i64 = 1;
const POD_TOPOLOGY_SPREAD: i64 = 2;
const INTER_POD_AFFINITY: i64 = 2;
const IMAGE_LOCALITY: i64 = 1;

/// The weighted sum for each of `nodes`. `defaults` are the spread constraints of a pod that has none of its own.
pub(crate) fn score(
    cluster: &Cluster,
    pod: &PodInfo,
    defaults: &[SpreadConstraint],
    nodes: &[NodeSlot],
) -> Vec<i64> {
    let mut totals: Vec<i64> = nodes
        .iter()
        .map(|&slot| {
            NODE_RESOURCES_FIT * resources::least_allocated(cluster, slot, pod)
                + NODE_RESOURCES_BALANCED * resources::balanced(cluster, slot, pod)
                + IMAGE_LOCALITY * images::locality(cluster, slot, pod)
        })
        .collect();
    add(&mut totals, TAINT_TOLERATION, &taints(cluster, pod, nodes));
    if !pod.preferred_nodes.is_empty() {
        add(&mut totals, NODE_AFFINITY, &preferred_nodes(cluster, pod, nodes));
    }
    if let Some(scores) = topology_spread::score(cluster, pod, defaults, nodes) {
        add(&mut totals, POD_TOPOLOGY_SPREAD, &scores);
    }
    if let Some(scores) = inter_pod_affinity::score(cluster, pod, nodes) {
        add(&mut totals, INTER_POD_AFFINITY, &scores);
    }
    totals
}

fn add(totals: &mut [i64], weight: i64, scores: &[i64]) {
    for (total, score) in totals.iter_mut().zip(scores) {
        *total += weight * score;
    }
}

/// Fewer taints that ask to stay away are better.
fn taints(cluster: &Cluster, pod: &PodInfo, nodes: &[NodeSlot]) -> Vec<i64> {
    let mut scores: Vec<i64> = nodes
        .iter()
        .map(|&slot| {
            let taints = cluster.nodes[slot]
                .info
                .as_ref()
                .map_or(&[][..], |info| &info.taints);
            i64::try_from(pod.tolerations.disliked(taints)).unwrap_or(i64::MAX)
        })
        .collect();
    normalize(&mut scores, true);
    scores
}

fn preferred_nodes(cluster: &Cluster, pod: &PodInfo, nodes: &[NodeSlot]) -> Vec<i64> {
    let mut scores: Vec<i64> = nodes
        .iter()
        .map(|&slot| {
            let Some(info) = &cluster.nodes[slot].info else {
                return 0;
            };
            pod.preferred_nodes
                .iter()
                .filter(|(_, term)| term.matches(cluster.node_name(slot), &info.labels))
                .map(|(weight, _)| i64::from(*weight))
                .sum()
        })
        .collect();
    normalize(&mut scores, false);
    scores
}

/// Scales to 0..=100 by the largest (upstream: `helper.DefaultNormalizeScore`).
fn normalize(scores: &mut [i64], reverse: bool) {
    let most = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if most == 0 { 0 } else { MAX_SCORE * *score / most };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}
