//! The plan for all nodes.
//! Source: `pkg/controller/nodelifecycle/node_lifecycle_controller.go` (1.36).
//!
//! Invariants:
//! - A node is called silent only after its grace period by the process's own clock.
//! - Nothing is tainted for eviction while every zone is dark: then it's us who are cut off.

use super::taints;
use super::zones::{ZoneState, zone_of, zones};
use crate::action::{Action, Plan};
use crate::config::NodeConfig;
use crate::object::MetaView;
use crate::pod_state;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The conditions that a node agent reports, which nobody knows once it's silent.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

pub struct Observed {
    pub nodes: Vec<Arc<Node>>,
    pub pods: Vec<Arc<Pod>>,
    /// When each node was last heard of; times are since the start of the process.
    pub heard: BTreeMap<String, Duration>,
    /// When each zone last lost a node to eviction.
    pub evicted: BTreeMap<String, Duration>,
    pub config: NodeConfig,
    pub at: Duration,
    pub now: Timestamp,
}

pub struct Decision {
    pub plan: Plan,
    /// Zones that have a node tainted for eviction by this plan.
    pub evicting: BTreeSet<String>,
}

pub fn plan(observed: &Observed) -> Decision {
    let mut actions = Vec::new();
    let mut evicting = BTreeSet::new();
    let zones = zones(&observed.nodes, &observed.config);
    let all_dark = !zones.is_empty() && zones.values().all(|state| *state == ZoneState::FullDisruption);
    for node in observed
        .nodes
        .iter()
        .filter(|node| !node.metadata.is_terminating())
    {
        if let Some(silenced) = silenced(observed, node) {
            actions.push(silenced);
            // The taints follow from the new conditions, at their version.
            continue;
        }
        let zone = zone_of(node);
        let state = zones.get(&zone).copied().unwrap_or(ZoneState::Normal);
        let may_evict = !all_dark && !evicting.contains(&zone) && may_evict(observed, &zone, state);
        let wanted = taints::wanted(node, may_evict, all_dark, observed.now);
        let have = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        if wanted != have {
            if taints::evicts(&wanted) && !taints::evicts(&have) {
                evicting.insert(zone);
            }
            actions.push(Action::patch_seen(
                node.as_ref(),
                json!({"spec": {"taints": wanted}}),
            ));
        }
    }
    actions.extend(unready_pods(observed));
    Decision {
        plan: Plan {
            actions: if actions.is_empty() {
                actions
            } else {
                vec![Action::Batch(actions)]
            },
            again_after: Some(observed.config.monitor_period),
        },
        evicting,
    }
}

/// What changes whenever a node agent reports its status.
pub fn heartbeat(node: &Node) -> Vec<Option<Time>> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let reported = conditions.into_iter().flatten();
    let mut beats: Vec<Option<Time>> = reported
        .filter(|condition| REPORTED.contains(&condition.type_.as_str()))
        .map(|condition| condition.last_heartbeat_time.clone())
        .collect();
    beats.sort_by_key(|beat| beat.as_ref().map(|time| time.0));
    beats
}

pub fn ready(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// The write that marks a node as silent, if it is and isn't marked yet.
fn silenced(observed: &Observed, node: &Arc<Node>) -> Option<Action> {
    let config = &observed.config;
    let grace = if ready(node).is_some() {
        config.monitor_grace_period
    } else {
        config.startup_grace_period
    };
    let heard = observed
        .heard
        .get(node.metadata.name())
        .copied()
        .unwrap_or(observed.at);
    let silence = observed.at.saturating_sub(heard);
    if SignedDuration::try_from(silence).unwrap_or(SignedDuration::MAX) <= grace {
        return None;
    }
    let before = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let mut conditions = before.clone();
    for kind in REPORTED {
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(Time(observed.now));
            }
            None => conditions.push(NodeCondition {
                type_: kind.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(observed.now)),
            }),
        }
    }
    (conditions != before)
        .then(|| Action::patch_status_seen(node.as_ref(), json!({"status": {"conditions": conditions}})))
}

fn may_evict(observed: &Observed, zone: &str, state: ZoneState) -> bool {
    let rate = match state {
        ZoneState::Normal | ZoneState::FullDisruption => observed.config.eviction_rate,
        ZoneState::PartialDisruption { large: true } => observed.config.secondary_eviction_rate,
        ZoneState::PartialDisruption { large: false } => 0.0,
    };
    if rate <= 0.0 {
        return false;
    }
    let pause = Duration::from_secs_f64(1.0 / rate);
    observed
        .evicted
        .get(zone)
        .is_none_or(|last| observed.at.saturating_sub(*last) >= pause)
}

/// Pods on silent nodes aren't known to be ready any more: Services must stop using them.
fn unready_pods(observed: &Observed) -> Vec<Action> {
    let silent: BTreeSet<&str> = observed
        .nodes
        .iter()
        .filter(|node| ready(node).is_some_and(|ready| ready.status == "Unknown"))
        .map(|node| node.metadata.name())
        .collect();
    if silent.is_empty() {
        return Vec::new();
    }
    observed
        .pods
        .iter()
        .filter(|pod| silent.contains(pod_state::node(pod)) && pod_state::is_ready(pod))
        .map(|pod| {
            let mut conditions = pod
                .status
                .as_ref()
                .and_then(|status| status.conditions.clone())
                .unwrap_or_default();
            for condition in conditions
                .iter_mut()
                .filter(|condition| condition.type_ == "Ready")
            {
                condition.status = "False".into();
                condition.last_transition_time = Some(Time(observed.now));
            }
            Action::patch_status_seen(pod.as_ref(), json!({"status": {"conditions": conditions}}))
        })
        .collect()
}
