//! Filters: which nodes may take a pod. Named and ordered as upstream's default plugins.

mod inter_pod_affinity;
mod resources;
mod topology_spread;

use crate::cluster::{Cluster, NodeInfo, NodeSlot};
use crate::diagnosis::{Diagnosis, Plugins, Reason};
use crate::pod_info::PodInfo;
use crate::taints::{NO_SCHEDULE, UNSCHEDULABLE};
use crate::volumes::{VolumeNeeds, Volumes};
use inter_pod_affinity::AffinityState;
use topology_spread::SpreadState;

pub(crate) use topology_spread::counts_node;

/// What is computed once a pod, before any node is looked at.
pub(crate) struct PreFiltered<'a> {
    pod: &'a PodInfo,
    /// The only nodes that can match, when the pod names them.
    pub(crate) only: Option<Vec<NodeSlot>>,
    spread: SpreadState,
    affinity: AffinityState,
    volumes: VolumeNeeds<'a>,
}

impl<'a> PreFiltered<'a> {
    /// # Errors
    /// When the pod itself can't be scheduled, whatever the nodes.
    pub(crate) fn new(cluster: &Cluster, volumes: &'a Volumes, pod: &'a PodInfo) -> Result<Self, Diagnosis> {
        let volumes = volumes
            .needs(pod)
            .map_err(|message| Diagnosis::of_pod(cluster.node_count(), message, Plugins::VOLUME_BINDING))?;
        let names = pod.required_nodes.as_ref().and_then(|terms| terms.names());
        let only = names.map(|names| {
            let mut slots: Vec<_> = names.iter().filter_map(|name| cluster.slot(name)).collect();
            slots.sort_unstable();
            slots.dedup();
            slots
        });
        Ok(Self {
            pod,
            only,
            spread: SpreadState::new(cluster, pod),
            affinity: AffinityState::new(cluster, pod),
            volumes,
        })
    }

    /// # Errors
    /// The first reason why the node can't take the pod.
    pub(crate) fn check(&self, cluster: &Cluster, slot: NodeSlot, node: &NodeInfo) -> Result<(), Reason> {
        let (pod, name) = (self.pod, cluster.node_name(slot));
        if node.unschedulable && !pod.tolerations.tolerate(UNSCHEDULABLE, "", NO_SCHEDULE) {
            return Err(Reason::Unschedulable);
        }
        if !pod.node_name.is_empty() && pod.node_name != name {
            return Err(Reason::NodeName);
        }
        if !node.taints.is_empty()
            && let Some(taint) = pod.tolerations.untolerated(&node.taints)
        {
            return Err(Reason::Taint {
                key: taint.key.clone(),
                value: taint.value.clone().unwrap_or_default(),
            });
        }
        if !pod.selects_node(name, &node.labels) {
            return Err(Reason::NodeAffinity);
        }
        if !pod.host_ports.is_empty() && !ports_are_free(cluster, slot, pod) {
            return Err(Reason::Ports);
        }
        resources::check(cluster, slot, node, pod)?;
        self.volumes.check(name, node)?;
        self.spread.check(cluster, slot)?;
        self.affinity.check(cluster, slot)
    }
}

fn ports_are_free(cluster: &Cluster, slot: NodeSlot, pod: &PodInfo) -> bool {
    cluster
        .pods_on(slot)
        .flat_map(|placed| &placed.info.host_ports)
        .all(|used| pod.host_ports.iter().all(|wanted| !wanted.conflicts(used)))
}
