//! One scheduling decision: a pod and the cluster in, a node or the reasons out.

use crate::cluster::{Cluster, NodeInfo, NodeSlot};
use crate::diagnosis::{Diagnosis, Reason};
use crate::filters::PreFiltered;
use crate::pod_info::{PodInfo, SpreadConstraint};
use crate::scores;
use crate::selector::Selector;
use crate::volumes::Volumes;
use std::sync::Arc;

/// Pods that were promised a node after a preemption, still waiting for it.
pub type Nominated<'a> = &'a [(Arc<PodInfo>, String)];

/// Where a pod fits nowhere: why, and where removing pods could help.
#[derive(Debug)]
pub struct NoFit {
    pub diagnosis: Diagnosis,
    pub candidates: Vec<String>,
}

/// Picks the best node for `pod`.
///
/// `group` selects the pods of the same Service or controller, for the default spreading. `pick` draws a number
/// below its argument, to choose among equals.
///
/// # Errors
/// When no node can take the pod now.
pub fn schedule(
    cluster: &mut Cluster,
    volumes: &Volumes,
    pod: &Arc<PodInfo>,
    group: Option<&Selector>,
    nominated: Nominated<'_>,
    pick: impl FnOnce(u64) -> u64,
) -> Result<String, NoFit> {
    cluster.index_topologies_of(pod);
    let defaults = defaults(cluster, group);
    // Promised room counts as taken for everybody who isn't more important.
    let reserved: Vec<&(Arc<PodInfo>, String)> = nominated
        .iter()
        .filter(|(other, _)| other.key != pod.key && other.priority >= pod.priority)
        .filter(|(other, _)| cluster.placement(&other.key).is_none())
        .collect();
    for (other, node) in &reserved {
        cluster.assume(other, node);
    }
    let decision = decide(cluster, volumes, pod, &defaults, pick);
    for (other, _) in &reserved {
        cluster.forget(&other.key);
    }
    decision
}

fn decide(
    cluster: &Cluster,
    volumes: &Volumes,
    pod: &PodInfo,
    defaults: &[SpreadConstraint],
    pick: impl FnOnce(u64) -> u64,
) -> Result<String, NoFit> {
    let refused = |diagnosis| NoFit {
        diagnosis,
        candidates: Vec::new(),
    };
    let state = PreFiltered::new(cluster, volumes, pod).map_err(refused)?;
    let mut diagnosis = Diagnosis::of_nodes(cluster.node_count());
    let mut candidates: Vec<NodeSlot> = Vec::new();
    let mut feasible: Vec<NodeSlot> = Vec::new();
    // Neighbours are mostly refused for the same reason: counted together, they cost one look-up.
    let mut run: Option<(Reason, usize)> = None;
    let mut look = |slot: NodeSlot, info: &NodeInfo| match state.check(cluster, slot, info) {
        Ok(()) => feasible.push(slot),
        Err(reason) => {
            if reason.is_resolvable() {
                candidates.push(slot);
            }
            match &mut run {
                Some((same, count)) if *same == reason => *count += 1,
                _ => {
                    if let Some((reason, count)) = run.replace((reason, 1)) {
                        diagnosis.refuse(reason, count);
                    }
                }
            }
        }
    };
    let mut others = 0;
    match &state.only {
        Some(only) => {
            let mut seen = 0;
            for &slot in only {
                if let Some(info) = &cluster.nodes[slot].info {
                    look(slot, info);
                    seen += 1;
                }
            }
            others = cluster.node_count().saturating_sub(seen);
        }
        None => {
            for (slot, node) in cluster.nodes.iter().enumerate() {
                if let Some(info) = &node.info {
                    look(slot, info);
                }
            }
        }
    }
    if let Some((reason, count)) = run {
        diagnosis.refuse(reason, count);
    }
    diagnosis.refuse(Reason::Preselected("NodeAffinity"), others);
    match feasible.as_slice() {
        [] => Err(NoFit {
            diagnosis,
            candidates: candidates
                .into_iter()
                .map(|slot| cluster.node_name(slot).to_owned())
                .collect(),
        }),
        [only] => Ok(cluster.node_name(*only).to_owned()),
        several => {
            let scores = scores::score(cluster, pod, defaults, several);
            let best = scores.iter().copied().max().unwrap_or(0);
            let ties = scores.iter().filter(|&&score| score == best).count();
            let chosen = usize::try_from(pick(u64::try_from(ties).unwrap_or(1))).unwrap_or(0);
            let slot = several
                .iter()
                .zip(&scores)
                .filter(|(_, score)| **score == best)
                .nth(chosen)
                .map_or(several[0], |(slot, _)| *slot);
            Ok(cluster.node_name(slot).to_owned())
        }
    }
}

fn defaults(cluster: &mut Cluster, group: Option<&Selector>) -> Vec<SpreadConstraint> {
    let defaults: Vec<SpreadConstraint> = group
        .filter(|selector| !selector.is_empty())
        .map(SpreadConstraint::system_defaults)
        .into_iter()
        .flatten()
        .collect();
    for constraint in &defaults {
        cluster.index_topology(&constraint.topology_key);
    }
    defaults
}
