//! Pods of one kind: same namespace, labels and terms on other pods.
//!
//! Pods of a controller are alike in everything that selectors read, so selectors are matched once a kind instead of
//! once a pod, and what is left of counting is a walk over nodes.

use super::NodeSlot;
use crate::pod_info::{PodAffinity, PodInfo};
use crate::selector::Labels;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) type KindId = usize;

#[derive(Debug, Default)]
pub(crate) struct Kinds {
    kinds: Vec<Kind>,
    ids: BTreeMap<Arc<Likeness>, KindId>,
    free: Vec<KindId>,
    by_namespace: BTreeMap<String, BTreeSet<KindId>>,
    /// Kinds with terms on other pods: the only ones that matter to a newcomer without any.
    with_affinity: BTreeSet<KindId>,
}

/// What pods of a kind have in common.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Likeness {
    pub(crate) namespace: String,
    pub(crate) labels: Labels,
    pub(crate) affinity: PodAffinity,
}

#[derive(Debug, Default)]
pub(crate) struct Kind {
    pub(crate) like: Arc<Likeness>,
    /// In the order of the nodes.
    nodes: Vec<OnNode>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct OnNode {
    pub(crate) node: NodeSlot,
    pub(crate) pods: u32,
    /// Of these, the ones that are on their way out.
    terminating: u32,
}

impl OnNode {
    pub(crate) fn staying(&self) -> i64 {
        i64::from(self.pods) - i64::from(self.terminating)
    }
}

impl Kind {
    /// The nodes that have pods of this kind.
    pub(crate) fn nodes(&self) -> &[OnNode] {
        &self.nodes
    }
}

impl Kinds {
    pub(super) fn add(&mut self, pod: &PodInfo, node: NodeSlot) -> KindId {
        let like = Likeness {
            namespace: pod.namespace.clone(),
            labels: pod.labels.clone(),
            affinity: pod.affinity.clone(),
        };
        let id = match self.ids.get(&like) {
            Some(&id) => id,
            None => self.insert(like),
        };
        let nodes = &mut self.kinds[id].nodes;
        let terminating = u32::from(pod.terminating);
        match nodes.binary_search_by_key(&node, |on| on.node) {
            Ok(index) => {
                nodes[index].pods += 1;
                nodes[index].terminating += terminating;
            }
            Err(index) => nodes.insert(
                index,
                OnNode {
                    node,
                    pods: 1,
                    terminating,
                },
            ),
        }
        id
    }

    pub(super) fn remove(&mut self, id: KindId, node: NodeSlot, terminating: bool) {
        let nodes = &mut self.kinds[id].nodes;
        if let Ok(index) = nodes.binary_search_by_key(&node, |on| on.node) {
            nodes[index].pods -= 1;
            nodes[index].terminating -= u32::from(terminating);
            if nodes[index].pods == 0 {
                nodes.remove(index);
            }
        }
        if nodes.is_empty() {
            let kind = std::mem::take(&mut self.kinds[id]);
            self.ids.remove(&kind.like);
            if let Some(ids) = self.by_namespace.get_mut(&kind.like.namespace) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_namespace.remove(&kind.like.namespace);
                }
            }
            self.with_affinity.remove(&id);
            self.free.push(id);
        }
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Kind> {
        let ids = self.by_namespace.get(namespace);
        ids.into_iter().flatten().map(|&id| &self.kinds[id])
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Kind> {
        self.ids.values().map(|&id| &self.kinds[id])
    }

    pub(crate) fn with_affinity(&self) -> impl Iterator<Item = &Kind> {
        self.with_affinity.iter().map(|&id| &self.kinds[id])
    }

    fn insert(&mut self, like: Likeness) -> KindId {
        let id = self.free.pop().unwrap_or(self.kinds.len());
        if id == self.kinds.len() {
            self.kinds.push(Kind::default());
        }
        self.by_namespace
            .entry(like.namespace.clone())
            .or_default()
            .insert(id);
        if !like.affinity.is_empty() {
            self.with_affinity.insert(id);
        }
        let like = Arc::new(like);
        self.kinds[id].like = Arc::clone(&like);
        self.ids.insert(like, id);
        id
    }
}
