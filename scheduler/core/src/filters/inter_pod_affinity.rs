//! InterPodAffinity, the terms that must hold: the pod's own and those of pods already there.
//!
//! Follows upstream's `interpodaffinity/filtering.go`.

use crate::cluster::{Cluster, NO_VALUE, NodeSlot};
use crate::diagnosis::Reason;
use crate::pod_info::{AffinityTerm, PodInfo};
use crate::selector::Labels;
use std::collections::BTreeMap;

pub(super) struct AffinityState {
    /// By topology key, whether a pod there refuses the newcomer.
    refused: BTreeMap<String, Vec<bool>>,
    /// For each required term, its topology and the pods that match all terms, by value.
    required: Vec<(String, Vec<i64>)>,
    /// For each required anti term, its topology and whether a pod matches, by value.
    anti: Vec<(String, Vec<bool>)>,
    /// The first pod of a group that wants to be together may start anywhere.
    starts_group: bool,
}

impl AffinityState {
    pub(super) fn new(cluster: &Cluster, pod: &PodInfo) -> Self {
        let required = required(cluster, pod);
        let matched = required
            .iter()
            .any(|(_, counts)| counts.iter().any(|&count| count > 0));
        Self {
            refused: refused(cluster, pod),
            starts_group: !required.is_empty()
                && !matched
                && matches_all(cluster, &pod.affinity.required, &pod.namespace, &pod.labels),
            required,
            anti: anti(cluster, pod),
        }
    }

    pub(super) fn check(&self, cluster: &Cluster, slot: NodeSlot) -> Result<(), Reason> {
        let value = |key: &str| {
            cluster
                .topology(key)
                .map_or(NO_VALUE, |topology| topology.of(slot))
        };
        for (key, counts) in &self.required {
            let value = value(key);
            let here = counts.get(value as usize).is_some_and(|&count| count > 0);
            if value == NO_VALUE || !(here || self.starts_group) {
                return Err(Reason::Affinity);
            }
        }
        for (key, taken) in &self.anti {
            if taken.get(value(key) as usize) == Some(&true) {
                return Err(Reason::AntiAffinity);
            }
        }
        for (key, refused) in &self.refused {
            if refused.get(value(key) as usize) == Some(&true) {
                return Err(Reason::ExistingAntiAffinity);
            }
        }
        Ok(())
    }
}

fn refused(cluster: &Cluster, pod: &PodInfo) -> BTreeMap<String, Vec<bool>> {
    let mut refused: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for kind in cluster.kinds().with_affinity() {
        for term in &kind.like.affinity.required_anti {
            let Some(topology) = cluster.topology(&term.topology_key) else {
                continue;
            };
            if !term.matches(&pod.namespace, &pod.labels, &cluster.namespaces) {
                continue;
            }
            let values = refused
                .entry(term.topology_key.clone())
                .or_insert_with(|| vec![false; topology.len()]);
            for on in kind.nodes() {
                if let Some(refused) = values.get_mut(topology.of(on.node) as usize) {
                    *refused = true;
                }
            }
        }
    }
    refused
}

fn required(cluster: &Cluster, pod: &PodInfo) -> Vec<(String, Vec<i64>)> {
    let terms = &pod.affinity.required;
    let mut counts: Vec<(String, Vec<i64>)> = terms
        .iter()
        .map(|term| {
            let length = cluster.topology(&term.topology_key).map_or(0, |t| t.len());
            (term.topology_key.clone(), vec![0; length])
        })
        .collect();
    if terms.is_empty() {
        return counts;
    }
    for kind in cluster.kinds().all() {
        // A pod counts for every term's topology, but only if it matches them all.
        let like = &kind.like;
        if !matches_all(cluster, terms, &like.namespace, &like.labels) {
            continue;
        }
        for (term, (_, counts)) in terms.iter().zip(&mut counts) {
            let Some(topology) = cluster.topology(&term.topology_key) else {
                continue;
            };
            for on in kind.nodes() {
                if let Some(count) = counts.get_mut(topology.of(on.node) as usize) {
                    *count += i64::from(on.pods);
                }
            }
        }
    }
    counts
}

fn anti(cluster: &Cluster, pod: &PodInfo) -> Vec<(String, Vec<bool>)> {
    pod.affinity
        .required_anti
        .iter()
        .map(|term| {
            let topology = cluster.topology(&term.topology_key);
            let mut taken = vec![false; topology.map_or(0, |t| t.len())];
            for kind in cluster.kinds().all() {
                let like = &kind.like;
                if !term.matches(&like.namespace, &like.labels, &cluster.namespaces) {
                    continue;
                }
                for on in kind.nodes() {
                    let value = topology.map_or(NO_VALUE, |topology| topology.of(on.node));
                    if let Some(taken) = taken.get_mut(value as usize) {
                        *taken = true;
                    }
                }
            }
            (term.topology_key.clone(), taken)
        })
        .collect()
}

fn matches_all(cluster: &Cluster, terms: &[AffinityTerm], namespace: &str, labels: &Labels) -> bool {
    terms
        .iter()
        .all(|term| term.matches(namespace, labels, &cluster.namespaces))
}
