//! Rollouts told as stories: the plan is applied to a small world until it has nothing left to do.

use super::{Observed, plan};
use crate::action::{Action, Body};
use crate::object::{MetaView, labels};
use crate::testing::{merged, now, object, owned_by, pod, story};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn deployment(replicas: i32, image: &str, over: Value) -> Deployment {
    serde_json::from_value(merged(
        json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "uid-web", "resourceVersion": "1", "generation": 1},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}},
        }),
        over,
    ))
    .unwrap()
}

/// A Deployment, its ReplicaSets, and how many pods of each exist and are available.
struct World {
    deployment: Deployment,
    sets: BTreeMap<String, ReplicaSet>,
    pods: Vec<Arc<Pod>>,
    created: i64,
}

impl World {
    fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            sets: BTreeMap::new(),
            pods: Vec::new(),
            created: 0,
        }
    }

    fn plan(&self) -> crate::action::Plan {
        plan(&Observed {
            deployment: Arc::new(self.deployment.clone()),
            sets: self.sets.values().cloned().map(Arc::new).collect(),
            pods: self.pods.clone(),
            now: now(),
        })
    }

    /// Executes one plan; gives its story without status writes.
    fn step(&mut self) -> Vec<String> {
        let plan = self.plan();
        for action in &plan.actions {
            self.apply(action);
        }
        story(&plan)
            .into_iter()
            .filter(|line| line.starts_with("event Scaling") || line.starts_with("delete"))
            .collect()
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::UpdateStatus(Body { value, .. }) => {
                self.deployment = serde_json::from_value(value.clone()).unwrap()
            }
            Action::Create(Body { value, .. }) | Action::Update(Body { value, .. }) => {
                let mut set: ReplicaSet = serde_json::from_value(value.clone()).unwrap();
                let name = set.metadata.name().to_owned();
                if set.metadata.uid.is_none() {
                    self.created += 1;
                    set.metadata.uid = Some(format!("uid-{name}"));
                    set.metadata.resource_version = Some("1".into());
                    set.metadata.creation_timestamp =
                        Some(serde_json::from_value(json!(crate::testing::ago(500 - self.created))).unwrap());
                }
                self.sets.insert(name, set);
            }
            Action::Patch { patch, .. } => {
                let whole = merged(serde_json::to_value(&self.deployment).unwrap(), patch.clone());
                self.deployment = serde_json::from_value(whole).unwrap();
            }
            Action::Delete(deletion) => {
                self.sets.remove(&deletion.target.key.name);
            }
            _ => {}
        }
    }

    /// All wanted pods come up.
    fn run_pods(&mut self) {
        for set in self.sets.values_mut() {
            let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
            let status = set.status.get_or_insert_default();
            status.replicas = wanted.unwrap();
            (status.ready_replicas, status.available_replicas) = (wanted, wanted);
        }
    }

    fn settle(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..50 {
            let before = (self.deployment.clone(), self.sets.clone());
            let lines = self.step();
            told.extend(lines);
            self.run_pods();
            if before == (self.deployment.clone(), self.sets.clone()) {
                return told;
            }
        }
        panic!("never settles: {told:?}");
    }

    fn set_image(&mut self, image: &str) {
        let spec = self.deployment.spec.as_mut().unwrap();
        spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
    }

    fn condition(&self, kind: &str) -> (String, String) {
        let status = self.deployment.status.as_ref().unwrap();
        let found = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == kind)
            .unwrap();
        (found.status.clone(), found.reason.clone().unwrap())
    }

    fn sizes(&self) -> Vec<i32> {
        let mut sets: Vec<_> = self.sets.values().collect();
        sets.sort_by_key(|set| set.metadata.created_at());
        sets.iter()
            .map(|set| set.spec.as_ref().unwrap().replicas.unwrap())
            .collect()
    }
}

/// Names of ReplicaSets hold a hash: tell them as A, B, ... in order of appearance.
fn anonymous(lines: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut name = |word: &str| {
        let at = names.iter().position(|known| known == word).unwrap_or_else(|| {
            names.push(word.to_owned());
            names.len() - 1
        });
        char::from(b'A' + u8::try_from(at).unwrap()).to_string()
    };
    let tell = |word: &str, name: &mut dyn FnMut(&str) -> String| {
        if word.starts_with("web-") {
            name(word)
        } else {
            word.to_owned()
        }
    };
    lines
        .iter()
        .map(|line| {
            let line = line
                .replace("event ScalingReplicaSet: Scaled ", "")
                .replace("replica set ", "");
            line.split(' ')
                .map(|word| tell(word, &mut name))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

#[test]
fn a_rollout_alternates_between_surge_and_shrink_until_only_the_new_template_runs() {
    let mut world = World::new(deployment(4, "v1", json!({})));
    assert_eq!(anonymous(&world.settle()), ["up A from 0 to 4"]);
    world.set_image("v2");
    // Names start anew in each telling: A is the new one here.
    assert_eq!(
        anonymous(&world.settle()),
        [
            "up A from 0 to 1",
            "down B from 4 to 2",
            "up A from 1 to 3",
            "down B from 2 to 0",
            "up A from 3 to 4",
        ]
    );
    let status = world.deployment.status.clone().unwrap();
    assert_eq!(
        (
            status.replicas,
            status.updated_replicas,
            status.available_replicas
        ),
        (Some(4), Some(4), Some(4))
    );
    assert_eq!(
        world.condition("Progressing"),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
    assert_eq!(
        world.deployment.metadata.annotation(super::revision::REVISION),
        Some("2")
    );
}

#[test]
fn rolling_back_reuses_the_old_set_and_gives_it_the_next_revision() {
    let mut world = World::new(deployment(
        1,
        "v1",
        json!({"metadata": {"annotations": {"kubernetes.io/change-cause": "first"}}}),
    ));
    world.settle();
    world.set_image("v2");
    world.settle();
    world.set_image("v1");
    world.settle();
    assert_eq!(world.sizes(), [1, 0]);
    let first = world
        .sets
        .values()
        .min_by_key(|set| set.metadata.created_at())
        .unwrap();
    let annotations = first.metadata.annotations.clone().unwrap();
    let expected = labels([
        ("deployment.kubernetes.io/desired-replicas", "1"),
        ("deployment.kubernetes.io/max-replicas", "2"),
        ("deployment.kubernetes.io/revision", "3"),
        ("deployment.kubernetes.io/revision-history", "1"),
        ("kubernetes.io/change-cause", "first"),
    ]);
    assert_eq!(annotations, expected);
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut world = World::new(deployment(
        2,
        "v1",
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
    ));
    world.settle();
    let old = world.sets.keys().next().unwrap().clone();
    world.pods = vec![pod(
        "last",
        Some(owned_by("apps/v1", "ReplicaSet", &old)),
        json!({}),
    )];
    world.set_image("v2");
    assert_eq!(anonymous(&world.settle()), ["down A from 2 to 0"]);
    world.pods.clear();
    assert_eq!(anonymous(&world.settle()), ["up A from 0 to 2"]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_shared_in_proportion() {
    let mut world = World::new(deployment(
        10,
        "v1",
        json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}}}),
    ));
    world.settle();
    world.set_image("v2");
    for _ in ["create", "record the revision", "shrink"] {
        world.step();
    }
    assert_eq!(
        world.sizes(),
        [8, 3],
        "new pods don't come up, old ones shrank by what may be unavailable"
    );
    world.deployment.spec.as_mut().unwrap().replicas = Some(20);
    world.step();
    // 23 in all: 8 and 3 of 13 grow to 14 and 5, what is left over goes to the larger one.
    assert_eq!(world.sizes(), [18, 5]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::new(deployment(2, "v1", json!({})));
    world.settle();
    world.deployment.spec.as_mut().unwrap().paused = Some(true);
    world.set_image("v2");
    assert_eq!(anonymous(&world.settle()), Vec::<String>::new());
    world.deployment.spec.as_mut().unwrap().replicas = Some(3);
    assert_eq!(anonymous(&world.settle()), ["up A from 2 to 3"]);
    assert_eq!(
        world.condition("Progressing"),
        ("Unknown".into(), "DeploymentPaused".into())
    );
    world.deployment.spec.as_mut().unwrap().paused = Some(false);
    assert_eq!(
        anonymous(&world.settle()).first().map(String::as_str),
        Some("up A from 0 to 1")
    );
}

#[test]
fn old_sets_beyond_the_history_limit_are_deleted_oldest_first() {
    let mut world = World::new(deployment(1, "v1", json!({"spec": {"revisionHistoryLimit": 1}})));
    for image in ["v1", "v2", "v3", "v4"] {
        world.set_image(image);
        world.settle();
    }
    assert_eq!(world.sizes(), [0, 1]);
}

#[test]
fn a_rollout_without_progress_misses_its_deadline() {
    let stuck = json!({"spec": {"progressDeadlineSeconds": 60}, "status": {"observedGeneration": 1, "conditions": [
        {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": crate::testing::ago(61)}]}});
    let mut world = World::new(deployment(1, "v1", stuck));
    world.step();
    assert_eq!(
        world.condition("Progressing"),
        ("False".into(), "ProgressDeadlineExceeded".into())
    );
}

#[test]
fn a_taken_name_is_counted_and_avoided() {
    let mut world = World::new(deployment(1, "v1", json!({})));
    world.settle();
    let (name, _) = world.sets.pop_first().unwrap();
    let foreign: Arc<ReplicaSet> = object(
        json!({"metadata": {"name": name, "namespace": "default", "uid": "x",
        "ownerReferences": [owned_by("apps/v1", "Deployment", "else")]}, "spec": {"replicas": 0, "selector": {}}}),
    );
    world.sets.insert(name.clone(), foreign.as_ref().clone());
    world.step();
    assert_eq!(world.deployment.status.as_ref().unwrap().collision_count, Some(1));
    world.step();
    assert_eq!(world.sets.len(), 2);
    assert!(world.sets.keys().any(|other| *other != name));
}

mod properties {
    use super::super::observed::{Revisions, Wishes, wanted};
    use super::super::rolling::{new_size, shrunk_sizes, staying};
    use crate::testing::object;
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::Arc;

    fn set(name: &str, size: i32, up: i32) -> Arc<ReplicaSet> {
        object(
            json!({"metadata": {"name": name}, "spec": {"replicas": size, "selector": {}},
            "status": {"replicas": size, "availableReplicas": up}}),
        )
    }

    proptest! {
        #[test]
        fn no_step_exceeds_the_surge_or_takes_available_pods_below_the_minimum(
            replicas in 0..30_i32, max_surge in 0..10_i32, unavailable in 0..10_i32,
            old in proptest::collection::vec((0..20_i32, 0..20_i32), 0..4), new in (0..30_i32, 0..30_i32),
        ) {
            let max_unavailable = if max_surge == 0 { unavailable.max(1) } else { unavailable }.min(replicas);
            let wishes = Wishes { replicas, rolling: true, max_surge, max_unavailable, progress_deadline: None, paused: false };
            let old: Vec<_> = old.iter().enumerate().map(|(i, (size, up))| set(&format!("o{i}"), *size, *up)).collect();
            let new = set("new", new.0.min(replicas), new.1);
            let revisions = Revisions { new: Some(Arc::clone(&new)), old: old.clone() };
            let before: i32 = revisions.all().map(|set| wanted(set)).sum();

            let grown = new_size(&wishes, &revisions, wanted(&new));
            prop_assert!(grown >= wanted(&new) && grown <= replicas);
            let total = before + grown - wanted(&new);
            prop_assert!(total <= (replicas + max_surge).max(before));

            let up_before: i32 = revisions.all().map(|set| staying(set)).sum();
            // Pods that aren't available go first (see the ranking), so a shrunk set keeps what it can.
            let up_after: i32 = up_before - shrunk_sizes(&wishes, &new, &old).iter()
                .map(|(set, size)| (staying(set) - size).max(0)).sum::<i32>();
            prop_assert!(up_after >= up_before.min(replicas - max_unavailable));
        }
    }
}
