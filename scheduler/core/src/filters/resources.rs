//! NodeResourcesFit: what is left on a node covers what the pod asks for.

use crate::cluster::{Cluster, NodeInfo, NodeSlot};
use crate::diagnosis::Reason;
use crate::pod_info::PodInfo;

pub(super) fn check(cluster: &Cluster, slot: NodeSlot, node: &NodeInfo, pod: &PodInfo) -> Result<(), Reason> {
    let has = &cluster.allocatable[slot];
    let used = &cluster.requested[slot];
    let asks = &pod.requests;
    // A pod that asks for none of a resource fits even where that resource is overdrawn.
    let lacks = |asks: i64, used: i64, has: i64| asks > 0 && asks > has - used;
    let cpu = lacks(asks.milli_cpu, used.milli_cpu, has.milli_cpu);
    let memory = lacks(asks.memory, used.memory, has.memory);
    let storage = lacks(
        asks.ephemeral_storage,
        used.ephemeral_storage,
        has.ephemeral_storage,
    );
    let pods = used.pods + 1 > has.pods;
    let fits = !(cpu || memory || storage || pods);
    if fits && pod.scalars.is_empty() {
        return Ok(());
    }
    let mut resources = Vec::new();
    let mut larger_than_node = (cpu && asks.milli_cpu > has.milli_cpu)
        || (memory && asks.memory > has.memory)
        || (storage && asks.ephemeral_storage > has.ephemeral_storage);
    for (lacking, name) in [
        (pods, "pods"),
        (cpu, "cpu"),
        (memory, "memory"),
        (storage, "ephemeral-storage"),
    ] {
        if lacking {
            resources.push(name.to_owned());
        }
    }
    for (name, &asks) in &pod.scalars {
        let has = node.scalars.get(name).copied().unwrap_or(0);
        let used = cluster.nodes[slot]
            .scalars_requested
            .get(name)
            .copied()
            .unwrap_or(0);
        if asks > has - used {
            larger_than_node |= asks > has;
            resources.push(name.clone());
        }
    }
    if resources.is_empty() {
        return Ok(());
    }
    Err(Reason::Insufficient {
        resources,
        larger_than_node,
    })
}
