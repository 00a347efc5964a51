//! PodTopologySpread, the constraints that should hold.
//!
//! Follows upstream's `podtopologyspread/scoring.go`.

use super::MAX_SCORE;
use crate::cluster::{Cluster, NO_VALUE, NodeSlot};
use crate::filters::counts_node;
use crate::pod_info::{PodInfo, SpreadConstraint};

/// `None` when no constraint applies.
pub(super) fn score(
    cluster: &Cluster,
    pod: &PodInfo,
    defaults: &[SpreadConstraint],
    nodes: &[NodeSlot],
) -> Option<Vec<i64>> {
    let uses_defaults = pod.spread.is_empty();
    let constraints: Vec<&SpreadConstraint> = if uses_defaults {
        defaults.iter().collect()
    } else {
        pod.spread.iter().filter(|constraint| !constraint.hard).collect()
    };
    if constraints.is_empty() {
        return None;
    }
    let value = |constraint: &SpreadConstraint, slot: NodeSlot| {
        cluster
            .topology(&constraint.topology_key)
            .map_or(NO_VALUE, |topology| topology.of(slot))
    };
    // Default constraints don't ask for every label; explicit ones do.
    let ignored: Vec<bool> = nodes
        .iter()
        .map(|&slot| !uses_defaults && constraints.iter().any(|c| value(c, slot) == NO_VALUE))
        .collect();
    let mut sums = vec![0.0_f64; nodes.len()];
    for constraint in &constraints {
        let Some(topology) = cluster.topology(&constraint.topology_key) else {
            continue;
        };
        let counts = counts(cluster, constraint, pod);
        let mut seen = vec![false; topology.len()];
        for (&slot, _) in nodes.iter().zip(&ignored).filter(|(_, ignored)| !**ignored) {
            if let Some(seen) = seen.get_mut(topology.of(slot) as usize) {
                *seen = true;
            }
        }
        // Larger topologies weigh more, by the logarithm of their size.
        let size = seen.iter().filter(|&&seen| seen).count();
        let weight = ((size + 2) as f64).ln();
        for (sum, &slot) in sums.iter_mut().zip(nodes) {
            if let Some(&count) = counts.get(topology.of(slot) as usize) {
                *sum += count as f64 * weight + (constraint.max_skew - 1) as f64;
            }
        }
    }
    let mut scores: Vec<i64> = sums.iter().map(|sum| sum.round() as i64).collect();
    let counted = || {
        scores
            .iter()
            .zip(&ignored)
            .filter(|(_, ignored)| !**ignored)
            .map(|(score, _)| *score)
    };
    let (least, most) = (counted().min().unwrap_or(0), counted().max().unwrap_or(0));
    for (score, ignored) in scores.iter_mut().zip(&ignored) {
        *score = if *ignored {
            0
        } else if most == 0 {
            MAX_SCORE
        } else {
            MAX_SCORE * (most + least - *score) / most
        };
    }
    Some(scores)
}

fn counts(cluster: &Cluster, constraint: &SpreadConstraint, pod: &PodInfo) -> Vec<i64> {
    let Some(topology) = cluster.topology(&constraint.topology_key) else {
        return Vec::new();
    };
    let mut counts = vec![0_i64; topology.len()];
    for kind in cluster.kinds().in_namespace(&pod.namespace) {
        if !constraint.selects(&kind.like.labels) {
            continue;
        }
        for on in kind.nodes() {
            let counted = cluster.nodes[on.node]
                .info
                .as_ref()
                .is_some_and(|info| counts_node(cluster, constraint, pod, on.node, info));
            if counted && let Some(count) = counts.get_mut(topology.of(on.node) as usize) {
                *count += on.staying();
            }
        }
    }
    counts
}
