//! InterPodAffinity, the terms that must hold: the pod's own and those of pods already there.
//!
//! Follows upstream's `interpodaffinity/filtering.go`.

use crate::cluster::{Cluster, NO_VALUE, NodeSlot};
use crate::diagnosis::Reason;
use crate::pod_info::{AffinityTerm, PodInfo};
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
                && matches_all(cluster, &pod.affinity.required, pod),
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
    for placed in cluster.pods_with_affinity() {
        for term in &placed.info.affinity.required_anti {
            let Some(topology) = cluster.topology(&term.topology_key) else {
                continue;
            };
            let value = topology.of(placed.node);
            if value != NO_VALUE && term.matches(&pod.namespace, &pod.labels, &cluster.namespaces) {
                if !refused.contains_key(&term.topology_key) {
                    refused.insert(term.topology_key.clone(), vec![false; topology.len()]);
                }
                if let Some(values) = refused.get_mut(&term.topology_key) {
                    values[value as usize] = true;
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
    for placed in matching(cluster, terms) {
        // A pod counts for every term's topology, but only if it matches them all.
        if placed.info.key != pod.key && matches_all(cluster, terms, &placed.info) {
            for (term, (_, counts)) in terms.iter().zip(&mut counts) {
                let value = cluster
                    .topology(&term.topology_key)
                    .map_or(NO_VALUE, |topology| topology.of(placed.node));
                if let Some(count) = counts.get_mut(value as usize) {
                    *count += 1;
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
            for placed in matching(cluster, std::slice::from_ref(term)) {
                let value = topology.map_or(NO_VALUE, |topology| topology.of(placed.node));
                if placed.info.key != pod.key
                    && let Some(taken) = taken.get_mut(value as usize)
                    && !*taken
                    && term.matches(&placed.info.namespace, &placed.info.labels, &cluster.namespaces)
                {
                    *taken = true;
                }
            }
            (term.topology_key.clone(), taken)
        })
        .collect()
}

/// The pods in namespaces that the first term selects: all that can match every term.
pub(crate) fn matching<'a>(
    cluster: &'a Cluster,
    terms: &'a [AffinityTerm],
) -> impl Iterator<Item = &'a crate::cluster::PlacedPod> {
    cluster
        .pod_namespaces()
        .filter(|namespace| {
            terms
                .first()
                .is_some_and(|term| term.selects_namespace(namespace, &cluster.namespaces))
        })
        .flat_map(|namespace| cluster.pods_in(namespace))
}

fn matches_all(cluster: &Cluster, terms: &[AffinityTerm], pod: &PodInfo) -> bool {
    terms
        .iter()
        .all(|term| term.matches(&pod.namespace, &pod.labels, &cluster.namespaces))
}
