//! Topology spread constraints, compiled.

use crate::selector::{Labels, Selector};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

/// Whether the pod's own node rules decide which nodes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodePolicy {
    Honor,
    Ignore,
}

#[derive(Debug, Clone)]
pub struct SpreadConstraint {
    pub max_skew: i64,
    pub topology_key: String,
    /// `DoNotSchedule`, as opposed to `ScheduleAnyway`.
    pub hard: bool,
    pub selector: Selector,
    /// A constraint without a selector counts no pod.
    pub selects_nothing: bool,
    pub min_domains: i64,
    pub node_affinity: NodePolicy,
    pub node_taints: NodePolicy,
}

impl SpreadConstraint {
    pub fn compile(constraint: &TopologySpreadConstraint, labels: &Labels) -> Self {
        let mut selector = constraint
            .label_selector
            .as_ref()
            .map(Selector::from_label_selector)
            .unwrap_or_default();
        for key in constraint.match_label_keys.iter().flatten() {
            if let Some(value) = labels.get(key) {
                selector.require(key, value);
            }
        }
        Self {
            max_skew: i64::from(constraint.max_skew),
            topology_key: constraint.topology_key.clone(),
            hard: constraint.when_unsatisfiable == "DoNotSchedule",
            selector,
            selects_nothing: constraint.label_selector.is_none(),
            min_domains: i64::from(constraint.min_domains.unwrap_or(1)),
            node_affinity: policy(constraint.node_affinity_policy.as_deref(), NodePolicy::Honor),
            node_taints: policy(constraint.node_taints_policy.as_deref(), NodePolicy::Ignore),
        }
    }

    /// The constraints that pods of a Service or controller have without asking (upstream:
    /// `podtopologyspread.systemDefaultConstraints`).
    pub fn system_defaults(selector: &Selector) -> [Self; 2] {
        let soft = |topology_key: &str, max_skew| Self {
            max_skew,
            topology_key: topology_key.to_owned(),
            hard: false,
            selector: selector.clone(),
            selects_nothing: false,
            min_domains: 1,
            node_affinity: NodePolicy::Honor,
            node_taints: NodePolicy::Ignore,
        };
        [
            soft("kubernetes.io/hostname", 3),
            soft("topology.kubernetes.io/zone", 5),
        ]
    }

    pub fn selects(&self, labels: &Labels) -> bool {
        !self.selects_nothing && self.selector.matches(labels)
    }
}

fn policy(text: Option<&str>, default: NodePolicy) -> NodePolicy {
    match text {
        Some("Honor") => NodePolicy::Honor,
        Some("Ignore") => NodePolicy::Ignore,
        _ => default,
    }
}
