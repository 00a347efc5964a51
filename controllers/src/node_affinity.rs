//! Whether a node may run a pod, as far as the pod itself says.
//! Source: `component-helpers/scheduling/corev1/nodeaffinity` (1.36).

use crate::object::MetaView;
use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, PodSpec};

/// Node selector and required node affinity.
pub fn matches(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let selected = spec
        .node_selector
        .as_ref()
        .is_none_or(|wanted| crate::selector::includes(labels, wanted));
    selected && required(spec).is_none_or(|selector| selector_matches(selector, node))
}

fn required(spec: &PodSpec) -> Option<&NodeSelector> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}

/// Any term; within a term all of it. A term without requirements matches nothing.
fn selector_matches(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| {
        let expressions = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let holds_something = !expressions.is_empty() || !fields.is_empty();
        holds_something
            && expressions
                .iter()
                .all(|rule| holds(rule, node.metadata.label(&rule.key)))
            && fields
                .iter()
                .all(|rule| rule.key == "metadata.name" && holds(rule, Some(node.metadata.name())))
    })
}

fn holds(rule: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = rule.values.as_deref().unwrap_or_default();
    let among = |value: &str| values.iter().any(|wanted| wanted == value);
    let compare = |value: &str| Some((value.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match (rule.operator.as_str(), value) {
        ("In", Some(value)) => among(value),
        ("NotIn", value) => !value.is_some_and(among),
        ("Exists", value) => value.is_some(),
        ("DoesNotExist", value) => value.is_none(),
        ("Gt", Some(value)) => compare(value).is_some_and(|(value, bound)| value > bound),
        ("Lt", Some(value)) => compare(value).is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// The node that a pod is bound or pinned to.
pub fn target_node(spec: &PodSpec) -> Option<&str> {
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return Some(node);
    }
    let fields = required(spec)?
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten());
    fields
        .filter(|rule| rule.key == "metadata.name" && rule.operator == "In")
        .find_map(|rule| rule.values.as_ref()?.first().map(String::as_str))
}
