//! Stories over a small world whose pods come up (or not) as told.

use super::{Observed, plan};
use crate::action::{Action, Plan};
use crate::object::MetaView;
use crate::testing::{merged, now, object, story};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

struct World {
    set: StatefulSet,
    pods: BTreeMap<String, Pod>,
    claims: BTreeMap<String, PersistentVolumeClaim>,
    revisions: BTreeMap<String, ControllerRevision>,
}

impl World {
    fn new(over: Value) -> Self {
        let set = object::<StatefulSet>(merged(
            json!({"metadata": {"name": "db", "namespace": "default", "uid": "uid-db", "generation": 1},
                "spec": {"replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
                    "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}},
                    "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}}),
            over,
        ));
        Self {
            set: set.as_ref().clone(),
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            revisions: BTreeMap::new(),
        }
    }

    fn plan(&self) -> Plan {
        fn shared<K: Clone>(all: &BTreeMap<String, K>) -> Vec<Arc<K>> {
            all.values().cloned().map(Arc::new).collect()
        }
        plan(&Observed {
            set: Arc::new(self.set.clone()),
            pods: shared(&self.pods),
            claims: shared(&self.claims),
            revisions: shared(&self.revisions),
            now: now(),
        })
    }

    /// Executes plans until one has nothing to do with pods; tells what happened to pods and claims.
    fn settle(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..50 {
            let plan = self.plan();
            if plan.actions.is_empty() {
                return told;
            }
            plan.actions.iter().for_each(|action| self.apply(action));
            told.extend(
                story(&plan)
                    .into_iter()
                    .filter(|line| line.contains("Pod") || line.contains("Claim")),
            );
        }
        panic!("never settles: {told:?}");
    }

    fn apply(&mut self, action: &Action) {
        let (Action::Create(body) | Action::Update(body) | Action::UpdateStatus(body)) = action else {
            if let Action::Delete(deletion) = action {
                self.pods.remove(&deletion.target.key.name);
                self.revisions.remove(&deletion.target.key.name);
            }
            return;
        };
        let (name, value) = (body.key.name.clone(), body.value.clone());
        match body.resource.kind.as_str() {
            "Pod" => {
                let alive = json!({"metadata": {"uid": name}, "status": {"phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": crate::testing::ago(60)}]}});
                self.pods
                    .insert(name, serde_json::from_value(merged(value, alive)).unwrap());
            }
            "PersistentVolumeClaim" => drop(self.claims.insert(name, serde_json::from_value(value).unwrap())),
            "ControllerRevision" => drop(
                self.revisions
                    .insert(name, serde_json::from_value(value).unwrap()),
            ),
            _ => self.set = serde_json::from_value(value).unwrap(),
        }
    }

    fn set_image(&mut self, image: &str) {
        let spec = self.set.spec.as_mut().unwrap();
        spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
    }

    fn images(&self) -> Vec<String> {
        self.pods
            .values()
            .map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap())
            .collect()
    }

    fn fall_ill(&mut self, name: &str) {
        self.pods
            .get_mut(name)
            .unwrap()
            .status
            .as_mut()
            .unwrap()
            .conditions = None;
    }
}

#[test]
fn pods_come_one_after_the_other_each_with_its_claim_and_name() {
    let mut world = World::new(json!({}));
    assert_eq!(
        world.settle(),
        [
            "create PersistentVolumeClaim default/data-db-0",
            "create Pod default/db-0",
            "create PersistentVolumeClaim default/data-db-1",
            "create Pod default/db-1",
        ]
    );
    let pod = &world.pods["db-1"];
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!(
        (spec.hostname.as_deref(), spec.subdomain.as_deref()),
        (Some("db-1"), Some("db"))
    );
    let claim = spec.volumes.as_ref().unwrap()[0]
        .persistent_volume_claim
        .as_ref()
        .unwrap();
    assert_eq!(claim.claim_name, "data-db-1");
    assert_eq!(
        pod.metadata.label("statefulset.kubernetes.io/pod-name"),
        Some("db-1")
    );
    let status = world.set.status.clone().unwrap();
    assert_eq!(
        (status.replicas, status.ready_replicas, status.updated_replicas),
        (2, Some(2), Some(2))
    );
}

#[test]
fn an_ill_pod_holds_up_those_after_it_unless_the_policy_is_parallel() {
    for (policy, expected) in [
        ("OrderedReady", vec![]),
        (
            "Parallel",
            vec![
                "create PersistentVolumeClaim default/data-db-2",
                "create Pod default/db-2",
            ],
        ),
    ] {
        let mut world = World::new(json!({"spec": {"podManagementPolicy": policy}}));
        world.settle();
        world.fall_ill("db-0");
        world.set.spec.as_mut().unwrap().replicas = Some(3);
        assert_eq!(world.settle(), expected, "{policy}");
    }
}

#[test]
fn scaling_down_goes_from_the_highest_ordinal_and_keeps_the_claims() {
    let mut world = World::new(json!({"spec": {"replicas": 3}}));
    world.settle();
    world.set.spec.as_mut().unwrap().replicas = Some(1);
    assert_eq!(
        world.settle(),
        ["delete Pod default/db-2", "delete Pod default/db-1"]
    );
    assert_eq!(world.claims.len(), 3);
}

#[test]
fn an_update_goes_from_the_highest_ordinal_down_to_the_partition() {
    let mut world =
        World::new(json!({"spec": {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 1}}}}));
    world.settle();
    world.set_image("v2");
    assert_eq!(
        world.settle(),
        [
            "delete Pod default/db-2",
            "create Pod default/db-2",
            "delete Pod default/db-1",
            "create Pod default/db-1"
        ]
    );
    assert_eq!(world.images(), ["v1", "v2", "v2"]);
    // A lost pod below the partition comes back as it was.
    world.pods.remove("db-0");
    world.settle();
    assert_eq!(world.images(), ["v1", "v2", "v2"]);
    world.set.spec.as_mut().unwrap().update_strategy = None;
    world.settle();
    assert_eq!(world.images(), ["v2", "v2", "v2"]);
    let status = world.set.status.clone().unwrap();
    assert_eq!(status.current_revision, status.update_revision);
}

#[test]
fn a_finished_pod_is_replaced_under_the_same_name() {
    let mut world = World::new(json!({"spec": {"replicas": 1}}));
    world.settle();
    world.pods.get_mut("db-0").unwrap().status.as_mut().unwrap().phase = Some("Failed".into());
    assert_eq!(
        world.settle(),
        ["delete Pod default/db-0", "create Pod default/db-0"]
    );
}
