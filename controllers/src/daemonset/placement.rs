//! Where a DaemonSet's pods belong, and the pod for one node.
//! Source: `NodeShouldRunDaemonPod`, `daemon/util` `AddOrUpdateDaemonPodTolerations`, `ReplaceDaemonSetPodNodeNameNodeAffinity` (1.36).

use crate::history::REVISION_HASH;
use crate::node_affinity;
use crate::object::{MetaView, controller_reference};
use crate::pod_template::pod_from_template;
use crate::taint_eviction::tolerates;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, PodTemplateSpec, Taint,
    Toleration,
};

/// What a daemon pod tolerates by itself: it belongs to the node, however bad the node is.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// A pod may start here.
    pub starts: bool,
    /// A pod that is here may stay.
    pub stays: bool,
}

/// Whether pods of this spec (with tolerations added) belong on the node.
pub fn place(spec: &PodSpec, node: &Node) -> Placement {
    let named = spec.node_name.as_deref().filter(|name| !name.is_empty());
    let matches = named.is_none_or(|name| name == node.metadata.name()) && node_affinity::matches(spec, node);
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let bears = |taint: &Taint| tolerations.iter().any(|toleration| tolerates(toleration, taint));
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    let bears_all = |effect: &str| taints.iter().filter(|taint| taint.effect == effect).all(bears);
    let stays = matches && bears_all("NoExecute");
    Placement {
        starts: stays && bears_all("NoSchedule"),
        stays,
    }
}

/// The template's pod spec as daemon pods have it.
pub fn daemon_spec(template: &PodTemplateSpec) -> PodSpec {
    let mut spec = template.spec.clone().unwrap_or_default();
    let on_host = spec.host_network == Some(true);
    let tolerations = spec.tolerations.get_or_insert_default();
    let network = on_host.then_some((NETWORK_UNAVAILABLE, "NoSchedule"));
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    spec
}

/// A pod of revision `hash`, pinned to `node`; the scheduler still binds it.
pub fn pod_for(set: &DaemonSet, template: &PodTemplateSpec, node: &str, hash: &str) -> Pod {
    let mut pod = pod_from_template(
        template,
        &set.metadata,
        controller_reference::<DaemonSet>(&set.metadata),
    );
    pod.metadata
        .labels
        .get_or_insert_default()
        .insert(REVISION_HASH.into(), hash.into());
    let mut spec = daemon_spec(template);
    let affinity = spec
        .affinity
        .get_or_insert_default()
        .node_affinity
        .get_or_insert_default();
    let pin = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    let selector = affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(NodeSelector::default);
    if selector.node_selector_terms.is_empty() {
        selector.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut selector.node_selector_terms {
        term.match_fields = Some(vec![pin.clone()]);
    }
    pod.spec = Some(spec);
    pod
}
