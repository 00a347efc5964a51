//! The taints that follow from a node's conditions.
//! Source: `nodeConditionToTaintKeyStatusMap`, `doNoScheduleTaintingPass` (1.36).

use super::plan::ready;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Condition, its status, the taint.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// All taints the node should have: those of others stay as they are, in their places. `may_evict` allows a new
/// `NoExecute` taint; with `all_dark` the old ones go, too.
pub fn wanted(node: &Node, may_evict: bool, all_dark: bool, now: Timestamp) -> Vec<Taint> {
    let have = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let schedule = no_schedule(node);
    let status = ready(node).map(|ready| ready.status.as_str());
    let execute = match status {
        Some("False") => Some(NOT_READY),
        Some("Unknown") => Some(UNREACHABLE),
        _ => None,
    };
    let execute = execute.filter(|_| !all_dark);
    let was_evicting = evicts(&have);
    let mut taints: Vec<Taint> = have
        .into_iter()
        .filter(|taint| match taint.effect.as_str() {
            "NoSchedule" if is_ours(&taint.key) => schedule.contains(&taint.key.as_str()),
            "NoExecute" if is_eviction(&taint.key) => execute == Some(taint.key.as_str()),
            _ => true,
        })
        .collect();
    for key in schedule {
        add(&mut taints, key, "NoSchedule", now);
    }
    if let Some(key) = execute
        && (may_evict || was_evicting)
    {
        add(&mut taints, key, "NoExecute", now);
    }
    taints
}

/// Whether these taints evict pods for the node's own state.
pub fn evicts(taints: &[Taint]) -> bool {
    taints
        .iter()
        .any(|taint| taint.effect == "NoExecute" && is_eviction(&taint.key))
}

fn no_schedule(node: &Node) -> Vec<&'static str> {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let mut keys: Vec<&'static str> = BY_CONDITION
        .into_iter()
        .filter(|(kind, status, _)| {
            conditions
                .iter()
                .any(|condition| condition.type_ == *kind && condition.status == *status)
        })
        .map(|(_, _, key)| key)
        .collect();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        keys.push(UNSCHEDULABLE);
    }
    keys
}

fn is_ours(key: &str) -> bool {
    key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, ours)| *ours == key)
}

fn is_eviction(key: &str) -> bool {
    key == NOT_READY || key == UNREACHABLE
}

fn add(taints: &mut Vec<Taint>, key: &str, effect: &str, now: Timestamp) {
    if !taints
        .iter()
        .any(|taint| taint.key == key && taint.effect == effect)
    {
        taints.push(Taint {
            key: key.to_owned(),
            effect: effect.to_owned(),
            time_added: Some(Time(now)),
            value: None,
        });
    }
}
