//! PodTopologySpread, the constraints that must hold.
//!
//! Follows upstream's `podtopologyspread/filtering.go`.

use crate::cluster::{Cluster, NO_VALUE, NodeInfo, NodeSlot};
use crate::diagnosis::Reason;
use crate::pod_info::{NodePolicy, PodInfo, SpreadConstraint};

pub(super) struct SpreadState(Vec<Constraint>);

struct Constraint {
    topology_key: String,
    max_skew: i64,
    /// Matching pods by value of the topology; `None` for values without a node that counts.
    counts: Vec<Option<i64>>,
    least: i64,
    /// 1 when the pod itself matches.
    own: i64,
}

impl SpreadState {
    pub(super) fn new(cluster: &Cluster, pod: &PodInfo) -> Self {
        let hard: Vec<&SpreadConstraint> = pod.spread.iter().filter(|c| c.hard).collect();
        let constraints = hard
            .iter()
            .filter_map(|constraint| {
                let topology = cluster.topology(&constraint.topology_key)?;
                let mut counts: Vec<Option<i64>> = vec![None; topology.len()];
                let counted = |slot: NodeSlot, node: &NodeInfo| {
                    counts_node(cluster, constraint, pod, slot, node)
                        && hard.iter().all(|other| {
                            cluster
                                .topology(&other.topology_key)
                                .is_some_and(|topology| topology.of(slot) != NO_VALUE)
                        })
                };
                let mut nodes = vec![false; cluster.nodes.len()];
                for (slot, node) in cluster.nodes.iter().enumerate() {
                    let value = topology.of(slot);
                    if let Some(info) = &node.info
                        && value != NO_VALUE
                        && counted(slot, info)
                    {
                        nodes[slot] = true;
                        counts[value as usize].get_or_insert(0);
                    }
                }
                for kind in cluster.kinds().in_namespace(&pod.namespace) {
                    if !constraint.selects(&kind.like.labels) {
                        continue;
                    }
                    for on in kind.nodes() {
                        if nodes[on.node]
                            && let Some(count) = &mut counts[topology.of(on.node) as usize]
                        {
                            *count += on.staying();
                        }
                    }
                }
                let domains = counts.iter().flatten().count();
                let enough = i64::try_from(domains).unwrap_or(i64::MAX) >= constraint.min_domains;
                let least = if enough {
                    counts.iter().flatten().min().copied().unwrap_or(0)
                } else {
                    0
                };
                Some(Constraint {
                    topology_key: constraint.topology_key.clone(),
                    max_skew: constraint.max_skew,
                    counts,
                    least,
                    own: i64::from(constraint.selects(&pod.labels)),
                })
            })
            .collect();
        Self(constraints)
    }

    pub(super) fn check(&self, cluster: &Cluster, slot: NodeSlot) -> Result<(), Reason> {
        for constraint in &self.0 {
            let value = cluster
                .topology(&constraint.topology_key)
                .map_or(NO_VALUE, |topology| topology.of(slot));
            if value == NO_VALUE {
                return Err(Reason::SpreadMissingLabel);
            }
            let count = constraint
                .counts
                .get(value as usize)
                .copied()
                .flatten()
                .unwrap_or(0);
            if count + constraint.own - constraint.least > constraint.max_skew {
                return Err(Reason::Spread);
            }
        }
        Ok(())
    }
}

/// Whether a node's pods count for a constraint of `pod`.
pub(crate) fn counts_node(
    cluster: &Cluster,
    constraint: &SpreadConstraint,
    pod: &PodInfo,
    slot: NodeSlot,
    node: &NodeInfo,
) -> bool {
    (constraint.node_affinity == NodePolicy::Ignore
        || pod.selects_node(cluster.node_name(slot), &node.labels))
        && (constraint.node_taints == NodePolicy::Ignore
            || pod.tolerations.untolerated(&node.taints).is_none())
}
