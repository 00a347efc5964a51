//! The plan for all nodes.
//! Source: `pkg/controller/nodelifecycle/node_lifecycle_controller.go` (1.36).
//!
//! Invariants:
//! - A node is called silent only after its grace period by the process's own clock, and tainted for eviction as
//!   unreachable only by a process that has heard nothing of it for that long itself: one that has just started, or
//!   was cut off, grants all nodes a fresh one (see [`SignsOfLife`](super::signs_of_life::SignsOfLife)).
//! - Nothing is tainted for eviction while every zone is dark: then it's us who are cut off. When the first node is
//!   back, the others get a fresh grace period, in which to come back, too.
//! - A zone loses no more nodes in a time to eviction than its rate; the first one goes at once.

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

/// The reason of conditions that we made up for an agent that never reported.
const NEVER_UPDATED: &str = "NodeStatusNeverUpdated";

pub struct Observed {
    pub nodes: Vec<Arc<Node>>,
    pub pods: Vec<Arc<Pod>>,
    /// When each node was last heard of; times are since the start of the process.
    pub heard: BTreeMap<String, Duration>,
    /// The last eviction of each zone.
    pub evicted: BTreeMap<String, Eviction>,
    /// Whether every zone was dark at the last look.
    pub was_dark: bool,
    pub config: NodeConfig,
    pub at: Duration,
    pub now: Timestamp,
}

/// Which node of a zone was tainted for eviction last, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    pub node: String,
    pub at: Duration,
}

pub struct Decision {
    pub plan: Plan,
    /// By zone, the node that this plan taints for eviction.
    pub evicting: BTreeMap<String, Eviction>,
    /// Whether every zone is dark. At the first look when they aren't any more, all nodes count as heard of.
    pub dark: bool,
}

pub fn plan(observed: &Observed) -> Decision {
    let mut actions = Vec::new();
    let mut evicting = BTreeMap::new();
    let zones = zones(&observed.nodes, &observed.config, |node| {
        is_overdue(observed, node)
    });
    let all_dark = !zones.is_empty() && zones.values().all(|state| *state == ZoneState::FullDisruption);
    let fresh = observed.was_dark && !all_dark;
    for node in observed
        .nodes
        .iter()
        .filter(|node| !node.metadata.is_terminating())
    {
        let silent = !fresh && is_silent(observed, node);
        if silent && let Some(silenced) = silenced(observed, node) {
            actions.push(silenced);
            // The taints follow from the new conditions, at their version.
            continue;
        }
        let zone = zone_of(node);
        let state = zones.get(&zone).copied().unwrap_or(ZoneState::Normal);
        let unreachable = ready(node).is_some_and(|ready| ready.status == "Unknown");
        let eviction = eviction(observed, node, &zone, state)
            .filter(|_| !all_dark && (silent || !unreachable) && !evicting.contains_key(&zone));
        let may_evict = eviction.is_some();
        let wanted = taints::wanted(node, may_evict, all_dark, observed.now);
        let have = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        if wanted != have {
            if taints::evicts(&wanted) && !taints::evicts(&have) {
                evicting.extend(eviction.map(|eviction| (zone, eviction)));
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
        dark: all_dark,
    }
}

/// The newest time in a node's status that its agent wrote: changes whenever it reports.
pub fn heartbeat(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .filter(|condition| {
            REPORTED.contains(&condition.type_.as_str()) && condition.reason.as_deref() != Some(NEVER_UPDATED)
        })
        .filter_map(|condition| Some(condition.last_heartbeat_time.as_ref()?.0))
        .max()
}

pub fn ready(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// Whether nothing was heard of a node for longer than it may be silent.
fn is_silent(observed: &Observed, node: &Node) -> bool {
    silence(observed, node) > grace(observed, node)
}

/// Whether a node has missed half of its time already. Nodes that are cut off together fall silent one after another, as
/// they last renewed: the first one must not be given up before it is known how many there are.
fn is_overdue(observed: &Observed, node: &Node) -> bool {
    silence(observed, node) > grace(observed, node) / 2
}

fn grace(observed: &Observed, node: &Node) -> SignedDuration {
    if ready(node).is_some() {
        observed.config.monitor_grace_period
    } else {
        observed.config.startup_grace_period
    }
}

fn silence(observed: &Observed, node: &Node) -> SignedDuration {
    let heard = observed.heard.get(node.metadata.name()).copied();
    let silence = observed.at.saturating_sub(heard.unwrap_or(observed.at));
    SignedDuration::try_from(silence).unwrap_or(SignedDuration::MAX)
}

/// The write that marks a silent node, if it isn't marked yet.
fn silenced(observed: &Observed, node: &Arc<Node>) -> Option<Action> {
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
                reason: Some(NEVER_UPDATED.into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(observed.now)),
            }),
        }
    }
    (conditions != before)
        .then(|| Action::patch_status_seen(node.as_ref(), json!({"status": {"conditions": conditions}})))
}

/// The eviction of a node, if its zone's rate allows one now. The last node of a zone may be tainted again: its taint
/// wasn't written, or it came back and was lost anew, which makes no further node.
fn eviction(observed: &Observed, node: &Node, zone: &str, state: ZoneState) -> Option<Eviction> {
    let rate = match state {
        ZoneState::Normal | ZoneState::FullDisruption => observed.config.eviction_rate,
        ZoneState::PartialDisruption { large: true } => observed.config.secondary_eviction_rate,
        ZoneState::PartialDisruption { large: false } => 0.0,
    };
    if rate <= 0.0 {
        return None;
    }
    let pause = Duration::from_secs_f64(1.0 / rate);
    let last = observed.evicted.get(zone);
    match last.filter(|last| observed.at.saturating_sub(last.at) < pause) {
        None => Some(Eviction {
            node: node.metadata.name().to_owned(),
            at: observed.at,
        }),
        Some(last) => (last.node == node.metadata.name()).then(|| last.clone()),
    }
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
