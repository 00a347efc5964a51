//! Affinity between pods, compiled.

use crate::selector::{Labels, Selector};
use k8s_openapi::api::core::v1::{Affinity, PodAffinityTerm};
use std::collections::{BTreeMap, BTreeSet};

/// Terms on other pods; the preferred ones carry a weight, negative for anti-affinity.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodAffinity {
    pub required: Vec<AffinityTerm>,
    pub required_anti: Vec<AffinityTerm>,
    pub preferred: Vec<(i64, AffinityTerm)>,
}

/// Pods that a term speaks of, and the topology in which it does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AffinityTerm {
    namespaces: BTreeSet<String>,
    namespace_selector: Option<Selector>,
    /// `None` selects no pod.
    selector: Option<Selector>,
    pub topology_key: String,
}

impl PodAffinity {
    /// `namespace` and `labels` are those of the pod that has the terms.
    pub fn compile(affinity: &Affinity, namespace: &str, labels: &Labels) -> Self {
        let compile = |term: &PodAffinityTerm| AffinityTerm::compile(term, namespace, labels);
        let mut compiled = Self::default();
        if let Some(towards) = &affinity.pod_affinity {
            let required = towards.required_during_scheduling_ignored_during_execution.iter();
            compiled.required = required.flatten().map(compile).collect();
            for preferred in towards
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
            {
                let term = compile(&preferred.pod_affinity_term);
                compiled.preferred.push((i64::from(preferred.weight), term));
            }
        }
        if let Some(away) = &affinity.pod_anti_affinity {
            let required = away.required_during_scheduling_ignored_during_execution.iter();
            compiled.required_anti = required.flatten().map(compile).collect();
            for preferred in away
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
            {
                let term = compile(&preferred.pod_affinity_term);
                compiled.preferred.push((-i64::from(preferred.weight), term));
            }
        }
        compiled
    }

    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.required_anti.is_empty() && self.preferred.is_empty()
    }

    /// The topologies of all terms.
    pub fn topology_keys(&self) -> impl Iterator<Item = &str> {
        self.required
            .iter()
            .chain(&self.required_anti)
            .chain(self.preferred.iter().map(|(_, term)| term))
            .map(|term| term.topology_key.as_str())
    }
}

impl AffinityTerm {
    fn compile(term: &PodAffinityTerm, namespace: &str, labels: &Labels) -> Self {
        let mut selector = term.label_selector.as_ref().map(Selector::from_label_selector);
        if let Some(selector) = &mut selector {
            for key in term.match_label_keys.iter().flatten() {
                if let Some(value) = labels.get(key) {
                    selector.require(key, value);
                }
            }
            for key in term.mismatch_label_keys.iter().flatten() {
                if let Some(value) = labels.get(key) {
                    selector.refuse(key, value);
                }
            }
        }
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        // Without names or a selector of namespaces, the pod's own is meant.
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Self {
            namespaces,
            namespace_selector: term
                .namespace_selector
                .as_ref()
                .map(Selector::from_label_selector),
            selector,
            topology_key: term.topology_key.clone(),
        }
    }

    pub fn matches(&self, namespace: &str, labels: &Labels, namespaces: &BTreeMap<String, Labels>) -> bool {
        self.selects_namespace(namespace, namespaces)
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(labels))
    }

    pub fn selects_namespace(&self, namespace: &str, namespaces: &BTreeMap<String, Labels>) -> bool {
        if self.namespaces.contains(namespace) {
            return true;
        }
        match &self.namespace_selector {
            None => false,
            Some(selector) if selector.is_empty() => true,
            Some(selector) => namespaces
                .get(namespace)
                .is_some_and(|labels| selector.matches(labels)),
        }
    }
}
