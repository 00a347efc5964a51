//! Pod garbage collection: pods that nothing else will ever remove.
//! Source: `pkg/controller/podgc/gc_controller.go` (1.36).

use crate::action::{Action, Deletion, Plan, Target};
use crate::object::{Key, MetaView};
use crate::pod_state;
use crate::runner::{Cache, Context, Controller, Informers, SyncError, Watches};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(20);
/// How long a node must be unknown before its pods are taken for lost: the node may be registering.
const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

pub struct Observed {
    pub pods: Vec<Arc<Pod>>,
    pub nodes: Vec<Arc<Node>>,
    /// Since when a node that pods are bound to is unknown.
    pub missing_since: BTreeMap<String, Timestamp>,
    /// Finished pods beyond this number are deleted, oldest first; zero keeps all.
    pub threshold: usize,
    pub now: Timestamp,
}

pub fn plan(observed: &Observed) -> Plan {
    let mut actions = Vec::new();
    let known: BTreeMap<&str, &Node> = observed
        .nodes
        .iter()
        .map(|node| (node.metadata.name(), node.as_ref()))
        .collect();
    for pod in &observed.pods {
        let node = pod_state::node(pod);
        let terminating = pod.metadata.is_terminating();
        if node.is_empty() {
            if terminating {
                actions.extend(force(pod, None, observed.now));
            }
            continue;
        }
        match known.get(node) {
            None => {
                let since = observed.missing_since.get(node).copied().unwrap_or(observed.now);
                if is_lost(since, observed.now) {
                    actions.extend(force(pod, Some("PodGC: node no longer exists"), observed.now));
                }
            }
            Some(node) if terminating && is_out_of_service(node) => {
                actions.extend(force(pod, Some("PodGC: node is out of service"), observed.now));
            }
            Some(_) => {}
        }
    }
    actions.extend(surplus(observed));
    Plan {
        actions: if actions.is_empty() {
            actions
        } else {
            vec![Action::Batch(actions)]
        },
        again_after: Some(PERIOD),
    }
}

fn is_lost(missing_since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(missing_since) >= QUARANTINE
}

/// Marks the pod as failed if it hasn't ended, and removes it without waiting for a node agent.
fn force(pod: &Arc<Pod>, disruption: Option<&str>, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    if !pod_state::is_finished(pod) && disruption.is_some() {
        let mut status = json!({"phase": "Failed"});
        if let Some(message) = disruption {
            let condition = PodCondition {
                type_: "DisruptionTarget".into(),
                status: "True".into(),
                reason: Some("DeletionByPodGC".into()),
                message: Some(message.into()),
                last_transition_time: Some(Time(now)),
                ..PodCondition::default()
            };
            let mut conditions = pod
                .status
                .as_ref()
                .and_then(|status| status.conditions.clone())
                .unwrap_or_default();
            conditions.retain(|condition| condition.type_ != "DisruptionTarget");
            conditions.push(condition);
            status["conditions"] = json!(conditions);
        }
        actions.push(Action::patch_status_seen(pod.as_ref(), json!({"status": status})));
    }
    actions.push(Action::Delete(Deletion {
        target: Target::of(pod.as_ref()),
        propagation: None,
        grace_seconds: Some(0),
        resource_version: None,
    }));
    actions
}

fn surplus(observed: &Observed) -> Vec<Action> {
    let mut finished: Vec<&Arc<Pod>> = observed
        .pods
        .iter()
        .filter(|pod| pod_state::is_finished(pod) && !pod.metadata.is_terminating())
        .collect();
    if observed.threshold == 0 || finished.len() <= observed.threshold {
        return Vec::new();
    }
    finished.sort_by_key(|pod| (pod.metadata.created_at(), Key::of(&pod.metadata)));
    finished.truncate(finished.len() - observed.threshold);
    finished
        .into_iter()
        .map(|pod| Action::delete(pod.as_ref()))
        .collect()
}

fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    !ready
        && taints
            .into_iter()
            .flatten()
            .any(|taint| taint.key == OUT_OF_SERVICE)
}

pub struct PodGcController {
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    threshold: usize,
    missing_since: Mutex<BTreeMap<String, Timestamp>>,
}

impl PodGcController {
    pub fn new(informers: &Informers, threshold: usize) -> Self {
        Self {
            pods: informers.of(),
            nodes: informers.of(),
            threshold,
            missing_since: Mutex::new(BTreeMap::new()),
        }
    }

    fn missing(&self, pods: &[Arc<Pod>], nodes: &[Arc<Node>], now: Timestamp) -> BTreeMap<String, Timestamp> {
        let known: BTreeSet<&str> = nodes.iter().map(|node| node.metadata.name()).collect();
        let used = pods.iter().map(|pod| pod_state::node(pod));
        let missing: BTreeSet<&str> = used
            .filter(|node| !node.is_empty() && !known.contains(node))
            .collect();
        let mut since = self.missing_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.retain(|node, _| missing.contains(node.as_str()));
        for node in missing {
            since.entry(node.to_owned()).or_insert(now);
        }
        since.clone()
    }
}

impl Controller for PodGcController {
    fn name(&self) -> &'static str {
        "pod-garbage-collector-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.once(Key::cluster("all"));
        // A deleted pod that no node holds is removed at once.
        watches.on(&self.pods, |change| {
            let unassigned = change
                .new
                .as_ref()
                .is_some_and(|pod| pod.metadata.is_terminating() && pod_state::node(pod).is_empty());
            unassigned.then(|| Key::cluster("all")).into_iter().collect()
        });
    }

    fn sync<'a>(&'a self, _key: &'a Key, context: &'a Context) -> BoxFuture<'a, Result<Plan, SyncError>> {
        Box::pin(async move {
            let (pods, mut nodes) = (self.pods.list(), self.nodes.list());
            let missing_since = self.missing(&pods, &nodes, context.now);
            for (name, _) in missing_since
                .iter()
                .filter(|(_, since)| is_lost(**since, context.now))
            {
                // The watch may be behind. Source: `checkIfNodeExists` (1.36).
                let api = Api::<Node>::all(context.client.clone());
                nodes.extend(api.get_opt(name).await?.map(Arc::new));
            }
            Ok(plan(&Observed {
                pods,
                nodes,
                missing_since,
                threshold: self.threshold,
                now: context.now,
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Observed, plan};
    use crate::testing::{ago, now, object, pod, story};
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::Node;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn lost_unassigned_and_surplus_pods_are_collected() {
        let lost = Timestamp::from_second(500).unwrap();
        let observed = Observed {
            pods: vec![
                pod("fine", None, json!({})),
                pod(
                    "unassigned",
                    None,
                    json!({"metadata": {"deletionTimestamp": ago(1)}, "spec": {"nodeName": null}}),
                ),
                pod("lost", None, json!({"spec": {"nodeName": "gone"}})),
                pod("registering", None, json!({"spec": {"nodeName": "new"}})),
                pod(
                    "old",
                    None,
                    json!({"metadata": {"creationTimestamp": ago(500)}, "status": {"phase": "Failed"}}),
                ),
                pod("young", None, json!({"status": {"phase": "Succeeded"}})),
            ],
            nodes: vec![object::<Node>(json!({"metadata": {"name": "n1"}}))],
            missing_since: BTreeMap::from([("gone".into(), lost), ("new".into(), now())]),
            threshold: 1,
            now: now(),
        };
        assert_eq!(
            story(&plan(&observed)),
            [
                "delete Pod default/unassigned; patch Pod default/lost; delete Pod default/lost; delete Pod default/old"
            ]
        );
    }
}
