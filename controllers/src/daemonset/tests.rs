use super::{Observed, plan};
use crate::action::{Action, Plan};
use crate::history::hash_of;
use crate::object::MetaView;
use crate::testing::{merged, now, object, owned_by, pod};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use std::sync::Arc;

fn set(over: Value) -> Arc<DaemonSet> {
    object(merged(
        json!({"metadata": {"name": "agent", "namespace": "default", "uid": "uid-agent", "generation": 1},
            "spec": {"selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}}}),
        over,
    ))
}

fn node(name: &str, taints: Value) -> Arc<Node> {
    object(json!({"metadata": {"name": name, "labels": {"disk": "ssd"}}, "spec": {"taints": taints}}))
}

fn daemon(name: &str, node: &str, hash: &str, over: Value) -> Arc<Pod> {
    let base =
        json!({"metadata": {"labels": {"controller-revision-hash": hash}}, "spec": {"nodeName": node}});
    pod(
        name,
        Some(owned_by("apps/v1", "DaemonSet", "agent")),
        merged(base, over),
    )
}

struct World {
    set: Arc<DaemonSet>,
    nodes: Vec<Arc<Node>>,
    revisions: Vec<Arc<ControllerRevision>>,
}

impl World {
    /// With the revision of the current template in place.
    fn new(set: Arc<DaemonSet>, nodes: Vec<Arc<Node>>) -> Self {
        let mut world = Self {
            set,
            nodes,
            revisions: Vec::new(),
        };
        world.record_revision();
        world
    }

    fn record_revision(&mut self) {
        let made = self.plan(&[]);
        let Some(Action::Create(body)) = made
            .actions
            .iter()
            .find(|action| matches!(action, Action::Create(_)))
        else {
            panic!("a revision")
        };
        self.revisions.push(object(body.value.clone()));
    }

    fn hash(&self) -> String {
        hash_of(self.revisions.last().unwrap()).to_owned()
    }

    fn plan(&self, pods: &[Arc<Pod>]) -> Plan {
        plan(&Observed {
            set: Arc::clone(&self.set),
            pods: pods.to_vec(),
            nodes: self.nodes.clone(),
            revisions: self.revisions.clone(),
            now: now(),
        })
    }

    /// Pod writes as `create on n1`, `delete p1`.
    fn moves(&self, pods: &[Arc<Pod>]) -> Vec<String> {
        let plan = self.plan(pods);
        let members = plan.actions.iter().filter_map(|action| match action {
            Action::Batch(members) => Some(members),
            _ => None,
        });
        members
            .flatten()
            .map(|action| match action {
                Action::Create(body) => {
                    let pod: Pod = serde_json::from_value(body.value.clone()).unwrap();
                    format!(
                        "create on {}",
                        crate::node_affinity::target_node(&pod.spec.unwrap()).unwrap()
                    )
                }
                Action::Delete(deletion) => format!("delete {}", deletion.target.key.name),
                other => other.summary(),
            })
            .collect()
    }
}

#[test]
fn every_fitting_node_gets_one_pod_pinned_to_it() {
    let bad = json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]);
    let own = json!([{"key": "dedicated", "effect": "NoSchedule"}]);
    let world = World::new(
        set(json!({})),
        vec![node("n1", json!([])), node("n2", bad), node("n3", own)],
    );
    assert_eq!(world.moves(&[]), ["create on n1", "create on n2"]);
    let there = daemon("a", "n1", &world.hash(), json!({}));
    let extra = daemon("b", "n1", &world.hash(), json!({}));
    let strange = daemon("c", "n3", &world.hash(), json!({}));
    assert_eq!(
        world.moves(&[there, extra, strange]),
        ["delete b", "create on n2"],
        "what runs may stay where nothing new may start"
    );
}

#[test]
fn a_node_that_no_longer_fits_loses_its_pod() {
    let picky = json!({"spec": {"template": {"spec": {"nodeSelector": {"disk": "tape"}}}}});
    let world = World::new(set(picky), vec![node("n1", json!([]))]);
    assert_eq!(
        world.moves(&[daemon("a", "n1", &world.hash(), json!({}))]),
        ["delete a"]
    );
}

#[test]
fn a_rolling_update_replaces_what_may_be_unavailable_at_a_time() {
    let mut world = World::new(
        set(json!({})),
        vec![
            node("n1", json!([])),
            node("n2", json!([])),
            node("n3", json!([])),
        ],
    );
    let old = world.hash();
    world.set = set(json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}}));
    world.record_revision();
    let new = world.hash();
    assert_ne!(old, new);
    let at = |name: &str, node: &str, hash: &str| daemon(name, node, hash, json!({}));
    assert_eq!(
        world.moves(&[at("a", "n1", &old), at("b", "n2", &old), at("c", "n3", &old)]),
        ["delete a"]
    );
    let starting = daemon("d", "n1", &new, json!({"status": {"conditions": []}}));
    assert!(
        world
            .moves(&[starting, at("b", "n2", &old), at("c", "n3", &old)])
            .is_empty()
    );
    assert_eq!(
        world.moves(&[at("d", "n1", &new), at("b", "n2", &old), at("c", "n3", &old)]),
        ["delete b"]
    );
}

#[test]
fn a_surge_starts_the_new_pod_first() {
    let surge = json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}});
    let mut world = World::new(
        set(surge.clone()),
        vec![node("n1", json!([])), node("n2", json!([]))],
    );
    let old = world.hash();
    world.set = set(merged(
        surge,
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}}),
    ));
    world.record_revision();
    let new = world.hash();
    let (a, b) = (
        daemon("a", "n1", &old, json!({})),
        daemon("b", "n2", &old, json!({})),
    );
    assert_eq!(world.moves(&[Arc::clone(&a), Arc::clone(&b)]), ["create on n1"]);
    let starting = daemon("c", "n1", &new, json!({"status": {"conditions": []}}));
    assert!(
        world
            .moves(&[Arc::clone(&a), Arc::clone(&b), starting])
            .is_empty()
    );
    let up = daemon("c", "n1", &new, json!({}));
    let moves = world.moves(&[a, b, up]);
    assert!(moves.contains(&"delete a".to_owned()), "{moves:?}");
}

#[test]
fn rolling_back_makes_the_old_revision_the_newest() {
    let mut world = World::new(set(json!({})), Vec::new());
    let first = world.revisions[0].metadata.name().to_owned();
    world.set = set(json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}}));
    world.record_revision();
    world.set = set(json!({}));
    let back = world.plan(&[]);
    let Some(Action::Update(body)) = back
        .actions
        .iter()
        .find(|action| matches!(action, Action::Update(_)))
    else {
        panic!("an update")
    };
    assert_eq!(
        (body.key.name.as_str(), &body.value["revision"]),
        (first.as_str(), &json!(3))
    );
}
