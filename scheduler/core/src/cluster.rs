//! The scheduler's picture of the cluster: nodes in flat arrays, pods on them, topologies.
//!
//! Invariants:
//! - `requested` of a node is the sum over its pods, assumed ones included.
//! - A pod is at one node at most; an older version of a pod never replaces a newer one.
//! - Slots of nodes and pods are reused; a slot means something only until the next change.

mod kinds;
mod node_info;
mod topology;

pub(crate) use kinds::{Kind, Kinds};
pub use node_info::NodeInfo;
pub use topology::{NO_VALUE, Topology};

use crate::pod_info::PodInfo;
use crate::resources::Amounts;
use crate::selector::Labels;
use kinds::KindId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub type NodeSlot = usize;
pub type PodSlot = usize;

#[derive(Debug, Default)]
pub struct Cluster {
    /// By slot; `info` is `None` for a node that pods name but that isn't known (yet).
    pub(crate) nodes: Vec<Node>,
    pub(crate) allocatable: Vec<Amounts>,
    pub(crate) requested: Vec<Amounts>,
    /// Requests with defaults, for scores.
    pub(crate) score_requested: Vec<Amounts>,
    node_slots: BTreeMap<String, NodeSlot>,
    free_nodes: Vec<NodeSlot>,
    known_nodes: usize,

    pods: Vec<Option<PlacedPod>>,
    pod_slots: BTreeMap<String, PodSlot>,
    free_pods: Vec<PodSlot>,
    kinds: Kinds,

    topologies: BTreeMap<String, Topology>,
    /// On how many nodes each image is.
    image_nodes: BTreeMap<String, usize>,
    pub namespaces: BTreeMap<String, Labels>,
}

#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) info: Option<NodeInfo>,
    pub(crate) pods: BTreeSet<PodSlot>,
    pub(crate) scalars_requested: BTreeMap<String, i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct PlacedPod {
    pub(crate) info: Arc<PodInfo>,
    node: NodeSlot,
    kind: KindId,
    /// Decided here, not yet seen bound.
    pub(crate) assumed: bool,
}

impl Cluster {
    /// Nodes that can be scheduled to.
    pub fn node_count(&self) -> usize {
        self.known_nodes
    }

    /// Pods that hold resources, assumed ones included.
    pub fn pod_count(&self) -> usize {
        self.pod_slots.len()
    }

    pub fn node_name(&self, slot: NodeSlot) -> &str {
        &self.nodes[slot].name
    }

    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes[*self.node_slots.get(name)?].info.as_ref()
    }

    /// Sum of the requests of a node's pods, and what it has; for checks.
    pub fn usage(&self, name: &str) -> Option<(Amounts, Amounts)> {
        let slot = *self.node_slots.get(name)?;
        Some((self.requested[slot], self.allocatable[slot]))
    }

    pub fn node_names(&self) -> impl Iterator<Item = &str> {
        self.nodes
            .iter()
            .filter(|node| node.info.is_some())
            .map(|node| node.name.as_str())
    }

    /// The node that a pod is on, and whether that is only assumed.
    pub fn placement(&self, key: &str) -> Option<(&Arc<PodInfo>, &str, bool)> {
        let placed = self.pods[*self.pod_slots.get(key)?].as_ref()?;
        Some((&placed.info, self.node_name(placed.node), placed.assumed))
    }

    /// Adds or updates a node.
    pub fn set_node(&mut self, name: &str, info: NodeInfo) {
        let slot = self.slot_of(name);
        self.forget_images(slot);
        for image in info.images.keys() {
            *self.image_nodes.entry(image.clone()).or_insert(0) += 1;
        }
        self.allocatable[slot] = info.allocatable;
        for (key, topology) in &mut self.topologies {
            topology.set(slot, info.labels.get(key).map(String::as_str));
        }
        if self.nodes[slot].info.replace(info).is_none() {
            self.known_nodes += 1;
        }
    }

    /// Removes a node; its pods stay counted under its name until they are gone too.
    pub fn remove_node(&mut self, name: &str) {
        let Some(&slot) = self.node_slots.get(name) else {
            return;
        };
        self.forget_images(slot);
        for topology in self.topologies.values_mut() {
            topology.set(slot, None);
        }
        if self.nodes[slot].info.take().is_some() {
            self.known_nodes -= 1;
        }
        self.release_if_unused(slot);
    }

    /// Takes in what the API says about a pod. Returns whether it freed something on a node.
    pub fn observe_pod(&mut self, info: Arc<PodInfo>) -> bool {
        if let Some((placed, _, assumed)) = self.placement(&info.key) {
            let same = placed.uid == info.uid;
            // News from before the decision, or from a server that lags.
            if same
                && (placed.resource_version > info.resource_version
                    || (assumed && info.node_name.is_empty() && !info.finished))
            {
                return false;
            }
        }
        let freed = self.remove_pod(&info.key).is_some();
        if info.uses_node() {
            let node = info.node_name.clone();
            self.place(info, &node, false);
            return false;
        }
        freed
    }

    /// Counts a pod on the node decided for it, before the API knows.
    pub fn assume(&mut self, pod: &Arc<PodInfo>, node: &str) {
        self.remove_pod(&pod.key);
        self.place(Arc::clone(pod), node, true);
    }

    /// Puts a pod back where it was.
    pub(crate) fn restore(&mut self, pod: &Arc<PodInfo>, node: &str, assumed: bool) {
        self.remove_pod(&pod.key);
        self.place(Arc::clone(pod), node, assumed);
    }

    /// Takes back an assumption; does nothing when the pod was seen bound meanwhile.
    pub fn forget(&mut self, key: &str) {
        if self.placement(key).is_some_and(|(_, _, assumed)| assumed) {
            self.remove_pod(key);
        }
    }

    /// Removes a pod that is gone. Returns it when it was counted on a node.
    pub fn remove_pod(&mut self, key: &str) -> Option<Arc<PodInfo>> {
        let slot = self.pod_slots.remove(key)?;
        let placed = self.pods[slot].take()?;
        self.free_pods.push(slot);
        let info = placed.info;
        self.kinds.remove(placed.kind, placed.node, info.terminating);
        self.requested[placed.node].subtract(&info.requests);
        self.score_requested[placed.node].subtract(&info.score_requests);
        let node = &mut self.nodes[placed.node];
        node.pods.remove(&slot);
        for (name, amount) in &info.scalars {
            if let Some(sum) = node.scalars_requested.get_mut(name) {
                *sum -= amount;
            }
        }
        self.release_if_unused(placed.node);
        Some(info)
    }

    /// Makes sure that the topologies a pod speaks of are indexed.
    pub fn index_topologies_of(&mut self, pod: &PodInfo) {
        let keys = pod.affinity.topology_keys().chain(
            pod.spread
                .iter()
                .map(|constraint| constraint.topology_key.as_str()),
        );
        for key in keys {
            self.index_topology(key);
        }
    }

    pub fn index_topology(&mut self, key: &str) {
        if self.topologies.contains_key(key) {
            return;
        }
        let mut topology = Topology::default();
        for (slot, node) in self.nodes.iter().enumerate() {
            let value = node.info.as_ref().and_then(|info| info.labels.get(key));
            topology.set(slot, value.map(String::as_str));
        }
        self.topologies.insert(key.to_owned(), topology);
    }

    pub(crate) fn topology(&self, key: &str) -> Option<&Topology> {
        self.topologies.get(key)
    }

    pub(crate) fn pod(&self, slot: PodSlot) -> Option<&PlacedPod> {
        self.pods.get(slot)?.as_ref()
    }

    pub(crate) fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    pub(crate) fn pods_on(&self, node: NodeSlot) -> impl Iterator<Item = &PlacedPod> {
        self.nodes[node].pods.iter().filter_map(|&slot| self.pod(slot))
    }

    pub(crate) fn slot(&self, name: &str) -> Option<NodeSlot> {
        self.node_slots.get(name).copied()
    }

    pub(crate) fn image_spread(&self, image: &str) -> usize {
        self.image_nodes.get(image).copied().unwrap_or(0)
    }

    fn place(&mut self, info: Arc<PodInfo>, node: &str, assumed: bool) {
        for key in info.affinity.topology_keys() {
            self.index_topology(key);
        }
        let node = self.slot_of(node);
        let slot = self.free_pods.pop().unwrap_or(self.pods.len());
        if slot == self.pods.len() {
            self.pods.push(None);
        }
        self.pod_slots.insert(info.key.clone(), slot);
        let kind = self.kinds.add(&info, node);
        self.requested[node].add(&info.requests);
        self.score_requested[node].add(&info.score_requests);
        let entry = &mut self.nodes[node];
        entry.pods.insert(slot);
        for (name, amount) in &info.scalars {
            *entry.scalars_requested.entry(name.clone()).or_insert(0) += amount;
        }
        self.pods[slot] = Some(PlacedPod {
            info,
            node,
            kind,
            assumed,
        });
    }

    fn slot_of(&mut self, name: &str) -> NodeSlot {
        if let Some(&slot) = self.node_slots.get(name) {
            return slot;
        }
        let slot = self.free_nodes.pop().unwrap_or(self.nodes.len());
        if slot == self.nodes.len() {
            self.nodes.push(Node::default());
            self.allocatable.push(Amounts::default());
            self.requested.push(Amounts::default());
            self.score_requested.push(Amounts::default());
        }
        name.clone_into(&mut self.nodes[slot].name);
        self.node_slots.insert(name.to_owned(), slot);
        slot
    }

    fn release_if_unused(&mut self, slot: NodeSlot) {
        if self.nodes[slot].info.is_some() || !self.nodes[slot].pods.is_empty() {
            return;
        }
        let node = std::mem::take(&mut self.nodes[slot]);
        self.allocatable[slot] = Amounts::default();
        self.requested[slot] = Amounts::default();
        self.score_requested[slot] = Amounts::default();
        self.node_slots.remove(&node.name);
        self.free_nodes.push(slot);
    }

    fn forget_images(&mut self, slot: NodeSlot) {
        let Some(info) = &self.nodes[slot].info else {
            return;
        };
        for image in info.images.keys() {
            if let Some(count) = self.image_nodes.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.image_nodes.remove(image);
                }
            }
        }
    }
}
