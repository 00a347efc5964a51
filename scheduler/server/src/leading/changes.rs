//! Taking in what the watches saw.

use super::{Leading, freed_by_pod};
use crate::watches::Watches;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kubeclient::{Change, Changes};
use scheduler_core::{Claim, Class, NodeInfo, Plugins, PodInfo, Volume};
use std::sync::Arc;

/// The watches whose changes matter when they happen; others are only looked up.
pub(super) struct Subscriptions {
    pods: Changes<Pod>,
    nodes: Changes<Node>,
    namespaces: Changes<Namespace>,
    claims: Changes<PersistentVolumeClaim>,
    volumes: Changes<PersistentVolume>,
    classes: Changes<StorageClass>,
}

impl Subscriptions {
    pub(super) fn new(watches: &Watches) -> Self {
        Self {
            pods: watches.pods.subscribe(),
            nodes: watches.nodes.subscribe(),
            namespaces: watches.namespaces.subscribe(),
            claims: watches.claims.subscribe(),
            volumes: watches.volumes.subscribe(),
            classes: watches.classes.subscribe(),
        }
    }

    /// Waits until there is something to take in.
    pub(super) async fn ready(&mut self) {
        tokio::select! {
            biased;
            () = self.pods.ready() => {}
            () = self.nodes.ready() => {}
            () = self.namespaces.ready() => {}
            () = self.claims.ready() => {}
            () = self.volumes.ready() => {}
            () = self.classes.ready() => {}
        }
    }
}

impl Leading {
    /// Nodes and volumes come before the pods that may want them.
    pub(super) fn take_in(&mut self, changes: &mut Subscriptions) {
        while let Some(change) = changes.namespaces.try_recv() {
            let labels = change
                .new
                .map(|namespace| namespace.metadata.labels.clone().unwrap_or_default());
            match labels {
                Some(labels) => {
                    self.cluster.namespaces.insert(change.key, labels);
                }
                None => {
                    self.cluster.namespaces.remove(&change.key);
                }
            }
            self.wake(Plugins::INTER_POD_AFFINITY);
        }
        while let Some(change) = changes.nodes.try_recv() {
            self.node_changed(&change);
        }
        while let Some(change) = changes.classes.try_recv() {
            let class = change.new.map(|class| Class::new(&class));
            keep(&mut self.volumes.classes, change.key, class);
            self.wake(Plugins::VOLUME_BINDING);
        }
        while let Some(change) = changes.volumes.try_recv() {
            let volume = change.new.map(|volume| Volume::new(&volume));
            keep(&mut self.volumes.volumes, change.key, volume);
            self.wake(Plugins::VOLUME_BINDING);
        }
        while let Some(change) = changes.claims.try_recv() {
            let claim = change.new.map(|claim| Claim::new(&claim));
            keep(&mut self.volumes.claims, change.key, claim);
            self.wake(Plugins::VOLUME_BINDING);
        }
        while let Some(change) = changes.pods.try_recv() {
            self.pod_changed(&change);
        }
    }

    fn wake(&mut self, plugins: Plugins) {
        let now = self.now();
        self.queue.wake(plugins, now);
    }

    fn node_changed(&mut self, change: &Change<Node>) {
        let Some(node) = &change.new else {
            self.cluster.remove_node(&change.key);
            // Fewer domains to spread over, and pods that no longer stand in the way of others.
            self.wake(Plugins::POD_TOPOLOGY_SPREAD.with(Plugins::INTER_POD_AFFINITY));
            return;
        };
        let info = NodeInfo::new(node);
        let mut images_apart = info.clone();
        let helps = match self.cluster.node(&change.key) {
            None => true,
            Some(old) if *old == info => return,
            Some(old) => {
                images_apart.images.clone_from(&old.images);
                *old != images_apart
            }
        };
        self.cluster.set_node(&change.key, info);
        if helps {
            self.wake(Plugins::ALL);
        }
    }

    fn pod_changed(&mut self, change: &Change<Pod>) {
        if let Some(pod) = &change.new {
            self.observe_pod(pod);
            return;
        }
        self.queue.remove(&change.key);
        self.nominated.remove(&change.key);
        if self.cluster.remove_pod(&change.key).is_some() {
            self.wake(freed_by_pod());
        }
    }

    pub(super) fn observe_pod(&mut self, pod: &Pod) {
        let info = Arc::new(PodInfo::new(pod));
        let waits = info.node_name.is_empty() && !info.finished;
        if waits {
            let assumed_already = self
                .cluster
                .placement(&info.key)
                .is_some_and(|(placed, _, _)| placed.uid == info.uid);
            if assumed_already {
                return;
            }
            if self.cluster.remove_pod(&info.key).is_some() {
                self.wake(freed_by_pod());
            }
            if info.terminating || info.scheduler_name != self.scheduler_name {
                self.queue.remove(&info.key);
                self.nominated.remove(&info.key);
                return;
            }
            if !info.nominated_node.is_empty() {
                let nomination = (Arc::clone(&info), info.nominated_node.clone());
                self.nominated.entry(info.key.clone()).or_insert(nomination);
            }
            let now = self.now();
            self.queue.add(info, now);
            return;
        }
        self.queue.remove(&info.key);
        self.nominated.remove(&info.key);
        let known = self
            .cluster
            .placement(&info.key)
            .is_some_and(|(_, _, assumed)| !assumed);
        let uses_node = info.uses_node();
        let shrinks = self.cluster.placement(&info.key).is_some_and(|(old, _, _)| {
            info.requests.milli_cpu < old.requests.milli_cpu
                || info.requests.memory < old.requests.memory
                || info.terminating != old.terminating
                || info.labels != old.labels
        });
        let freed = self.cluster.observe_pod(info);
        if freed || shrinks {
            self.wake(freed_by_pod());
        } else if uses_node && !known {
            self.wake(Plugins::INTER_POD_AFFINITY.with(Plugins::POD_TOPOLOGY_SPREAD));
        }
    }
}

fn keep<T>(map: &mut std::collections::BTreeMap<String, T>, key: String, value: Option<T>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}
