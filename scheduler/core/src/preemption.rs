//! Preemption: which less important pods to remove so that a pod fits.
//!
//! Follows upstream's `preemption/preemption.go` and `defaultpreemption/default_preemption.go`: the same victims, the
//! same order of preference between nodes.

use crate::cluster::Cluster;
use crate::filters::PreFiltered;
use crate::pod_info::PodInfo;
use crate::selector::{Labels, Selector};
use crate::volumes::Volumes;
use std::cmp::Reverse;
use std::sync::Arc;

/// A disruption budget: how many of its pods may still go.
#[derive(Debug, Clone)]
pub struct Budget {
    pub namespace: String,
    pub selector: Selector,
    pub allowed: i64,
}

impl Budget {
    fn covers(&self, namespace: &str, labels: &Labels) -> bool {
        self.namespace == namespace && !self.selector.is_empty() && self.selector.matches(labels)
    }
}

/// The node to make room on, and whom to remove.
#[derive(Debug, Clone)]
pub struct Preemption {
    pub node: String,
    pub victims: Vec<Arc<PodInfo>>,
    violations: usize,
}

/// At least this many nodes are tried, or a tenth of all if that's more.
const MIN_CANDIDATES: usize = 100;

/// Finds the least harmful preemption among `candidates`, the nodes that refused the pod for something that its pods
/// hold. `None` when there is none, or when an earlier one is still under way.
pub fn preempt(
    cluster: &mut Cluster,
    volumes: &Volumes,
    pod: &PodInfo,
    budgets: &[Budget],
    candidates: &[String],
) -> Option<Preemption> {
    if pod.never_preempts || waits_for_victims(cluster, pod) {
        return None;
    }
    let limit = MIN_CANDIDATES.max(cluster.node_count() / 10);
    let mut best: Option<Preemption> = None;
    let mut found = 0;
    for node in candidates {
        if found == limit {
            break;
        }
        if let Some(preemption) = on_node(cluster, volumes, pod, budgets, node) {
            found += 1;
            if best.as_ref().is_none_or(|best| preemption.rank() < best.rank()) {
                best = Some(preemption);
            }
        }
    }
    best
}

/// Whether pods removed for this one are still on their way out.
pub fn waits_for_victims(cluster: &Cluster, pod: &PodInfo) -> bool {
    cluster.slot(&pod.nominated_node).is_some_and(|slot| {
        cluster
            .pods_on(slot)
            .any(|placed| placed.info.terminating && placed.info.priority < pod.priority)
    })
}

impl Preemption {
    /// Smaller is better: budgets violated, the most important victim, all victims' importance, their number, and
    /// among the rest the one whose most important victims started last.
    fn rank(&self) -> (usize, i32, i64, usize, Reverse<i64>) {
        let most = self.victims.iter().map(|v| v.priority).max().unwrap_or(i32::MIN);
        let earliest = self
            .victims
            .iter()
            .filter(|victim| victim.priority == most)
            .map(|victim| victim.created_second)
            .min()
            .unwrap_or(0);
        let sum = self
            .victims
            .iter()
            // Shifted, so that more victims never look like less.
            .map(|victim| i64::from(victim.priority) + i64::from(i32::MAX) + 1)
            .sum();
        (self.violations, most, sum, self.victims.len(), Reverse(earliest))
    }
}

fn on_node(
    cluster: &mut Cluster,
    volumes: &Volumes,
    pod: &PodInfo,
    budgets: &[Budget],
    node: &str,
) -> Option<Preemption> {
    let slot = cluster.slot(node)?;
    let mut removed: Vec<(Arc<PodInfo>, bool)> = cluster
        .pods_on(slot)
        .filter(|placed| placed.info.priority < pod.priority)
        .map(|placed| (Arc::clone(&placed.info), placed.assumed))
        .collect();
    if removed.is_empty() {
        return None;
    }
    for (victim, _) in &removed {
        cluster.remove_pod(&victim.key);
    }
    let everybody = removed.clone();
    // The more important, then the older, are spared first.
    removed.sort_by_key(|(victim, _)| {
        (
            Reverse(victim.priority),
            victim.created_second,
            victim.key.clone(),
        )
    });
    let (violating, others) = split_by_budget(removed, budgets);
    let mut victims = Vec::new();
    let mut violations = 0;
    let possible = fits(cluster, volumes, pod, node);
    if possible {
        for (group, violates) in [(violating, true), (others, false)] {
            for (victim, assumed) in group {
                cluster.restore(&victim, node, assumed);
                if !fits(cluster, volumes, pod, node) {
                    cluster.remove_pod(&victim.key);
                    violations += usize::from(violates);
                    victims.push(victim);
                }
            }
        }
    }
    for (pod, assumed) in &everybody {
        cluster.restore(pod, node, *assumed);
    }
    (possible && !victims.is_empty()).then(|| Preemption {
        node: node.to_owned(),
        victims,
        violations,
    })
}

type Removed = Vec<(Arc<PodInfo>, bool)>;

/// Pods whose removal would break a budget, and the others.
fn split_by_budget(pods: Removed, budgets: &[Budget]) -> (Removed, Removed) {
    let mut left: Vec<i64> = budgets.iter().map(|budget| budget.allowed).collect();
    pods.into_iter().partition(|(pod, _)| {
        let mut violates = false;
        for (budget, left) in budgets.iter().zip(&mut left) {
            if budget.covers(&pod.namespace, &pod.labels) {
                *left -= 1;
                violates |= *left < 0;
            }
        }
        violates
    })
}

fn fits(cluster: &mut Cluster, volumes: &Volumes, pod: &PodInfo, node: &str) -> bool {
    let Some(slot) = cluster.slot(node) else {
        return false;
    };
    let Some(info) = cluster.nodes[slot].info.clone() else {
        return false;
    };
    PreFiltered::new(cluster, volumes, pod).is_ok_and(|state| state.check(cluster, slot, &info).is_ok())
}
