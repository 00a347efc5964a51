//! InterPodAffinity, the terms that should hold: the pod's own and those of pods already there.
//!
//! Follows upstream's `interpodaffinity/scoring.go`.

use super::MAX_SCORE;
use crate::cluster::{Cluster, Kind, NodeSlot};
use crate::pod_info::{AffinityTerm, PodInfo};
use std::collections::BTreeMap;

/// What a required affinity of a pod already there is worth to a pod that satisfies it.
const HARD_AFFINITY_WEIGHT: i64 = 1;

/// `None` when no term applies.
pub(super) fn score(cluster: &Cluster, pod: &PodInfo, nodes: &[NodeSlot]) -> Option<Vec<i64>> {
    let mut values: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (weight, term) in &pod.affinity.preferred {
        for kind in cluster.kinds().all() {
            let like = &kind.like;
            if term.matches(&like.namespace, &like.labels, &cluster.namespaces) {
                count(cluster, &mut values, term, kind, *weight);
            }
        }
    }
    for kind in cluster.kinds().with_affinity() {
        let affinity = &kind.like.affinity;
        let required = affinity.required.iter().map(|term| (HARD_AFFINITY_WEIGHT, term));
        let preferred = affinity.preferred.iter().map(|(weight, term)| (*weight, term));
        for (weight, term) in required.chain(preferred) {
            if term.matches(&pod.namespace, &pod.labels, &cluster.namespaces) {
                count(cluster, &mut values, term, kind, weight);
            }
        }
    }
    if values.is_empty() {
        return None;
    }
    let mut scores = vec![0_i64; nodes.len()];
    for (key, counts) in &values {
        if let Some(topology) = cluster.topology(key) {
            for (score, &slot) in scores.iter_mut().zip(nodes) {
                *score += counts.get(topology.of(slot) as usize).copied().unwrap_or(0);
            }
        }
    }
    let least = scores.iter().copied().min().unwrap_or(0);
    let range = scores.iter().copied().max().unwrap_or(0) - least;
    for score in &mut scores {
        *score = if range == 0 {
            0
        } else {
            MAX_SCORE * (*score - least) / range
        };
    }
    Some(scores)
}

fn count<'a>(
    cluster: &Cluster,
    values: &mut BTreeMap<&'a str, Vec<i64>>,
    term: &'a AffinityTerm,
    kind: &Kind,
    weight: i64,
) {
    let Some(topology) = cluster.topology(&term.topology_key) else {
        return;
    };
    let counts = values
        .entry(&term.topology_key)
        .or_insert_with(|| vec![0; topology.len()]);
    for on in kind.nodes() {
        if let Some(count) = counts.get_mut(topology.of(on.node) as usize) {
            *count += weight * i64::from(on.pods);
        }
    }
}
