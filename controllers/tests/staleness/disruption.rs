//! Budgets: what is granted.

use crate::scene::{Scene, running, so, text};
use serde_json::{Value, json};
use std::time::Duration;
use test_api::{Api, World, ready, seeds};
use tokio::time::sleep;

const PODS: usize = 4;

fn serves(pod: &Value) -> bool {
    ready(pod) && pod["metadata"]["deletionTimestamp"].is_null()
}

/// Somebody keeps four pods, and makes a new one for each that goes.
async fn replaces(world: World) {
    for number in 0_u64.. {
        sleep(Duration::from_millis(world.random.below(20..300))).await;
        let pods = world.api.list("pods");
        for pod in &pods {
            let name = text(&pod["metadata"]["name"]);
            if !pod["metadata"]["deletionTimestamp"].is_null() && world.chance(3) {
                world.api.confirm("default", name);
            } else if !ready(pod) && world.chance(8) {
                world.api.change("pods", "default", name, running(&world));
            }
        }
        if pods
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .count()
            < PODS
        {
            world.api.create(
                "pods",
                json!({"metadata": {"name": format!("p{number}"), "namespace": "default", "labels": {"app": "web"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "uid-1",
                        "controller": true}]},
                    "spec": {"nodeName": "n1", "containers": [{"name": "c"}]}}),
            );
        }
    }
}

async fn evicts(world: World) {
    loop {
        sleep(Duration::from_millis(world.random.below(10..200))).await;
        let pods = world.api.list("pods");
        let serving: Vec<_> = pods.iter().filter(|pod| serves(pod)).collect();
        let chosen = world.random.below(0..serving.len().max(1) as u64);
        if let Some(pod) = serving.get(usize::try_from(chosen).unwrap_or(0)) {
            world.api.evict("default", text(&pod["metadata"]["name"]), "web");
        }
    }
}

fn story(seed: u64, bug: Option<&'static str>) {
    World::run(seed, &[], bug, |world| async move {
        let (limit, least) = match seed % 3 {
            0 => (json!({"minAvailable": 2}), 2),
            1 => (json!({"maxUnavailable": 1}), 3),
            _ => (json!({"minAvailable": "50%"}), 2),
        };
        world.api.judge(move |write| {
            let evicted = write.place.plural == "pods"
                && write.old.is_some_and(serves)
                && write.new.is_none_or(|new| !serves(new));
            let mut pods = write.objects.iter().filter(|(place, _)| place.plural == "pods");
            let left = pods.by_ref().filter(|(_, pod)| serves(pod)).count();
            so(!evicted || left >= least, || {
                format!("{left} pods serve, {least} must")
            })
        });
        let labels = json!({"matchLabels": {"app": "web"}});
        world.api.create(
            "replicasets",
            json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"replicas": PODS, "selector": labels}}),
        );
        let mut spec = json!({"selector": labels});
        for (field, value) in limit.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        world.api.create(
            "poddisruptionbudgets",
            json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}),
        );
        let mut scene = Scene::start(&world, &["disruption-controller"]);
        scene.also(replaces(world.clone()));
        let evictions = tokio::spawn(evicts(world.clone()));
        scene.trouble(6000..18_000).await;
        evictions.abort();
        scene.heals(|api| is_settled(api, least)).await;
    });
}

fn is_settled(api: &Api, least: usize) -> Result<(), String> {
    let budget = api
        .get("poddisruptionbudgets", "default", "web")
        .ok_or("no budget")?;
    let status = &budget["status"];
    let counts = status["currentHealthy"] == PODS && status["disruptionsAllowed"] == PODS - least;
    so(counts && status["disruptedPods"].is_null(), || {
        format!("all four counted: {status}")
    })
}

#[test]
fn a_budget_never_grants_more_than_it_may() {
    seeds().for_each(|seed| story(seed, None));
}

#[test]
#[should_panic(expected = "pods serve")]
fn a_budget_is_overdrawn_when_a_new_leader_trusts_its_caches() {
    (370..380).for_each(|seed| story(seed, Some("trusts-warm-caches")));
}
