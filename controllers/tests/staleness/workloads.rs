//! Jobs and ReplicationControllers: what is counted, and whose pods are touched.

use crate::scene::{Scene, agents, so, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use test_api::{Api, World, seeds};

const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// Jobs at work at the same time.
const JOBS: [&str; 3] = ["one", "two", "three"];

fn template(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "v1"}]}})
}

/// A Job never says that more pods succeeded than did; in the end it's complete, and holds no pod.
/// Gives the whole history.
fn job(seed: u64, bug: Option<&'static str>) -> String {
    World::run(seed, &[], bug, |world| async move {
        let mut succeeded: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        world.api.judge(move |write| {
            let Some(new) = write.new else {
                return Ok(());
            };
            if write.place.plural == "pods" && new["status"]["phase"] == "Succeeded" {
                let of_job = succeeded.entry(text(&new["metadata"]["labels"]["app"]).to_owned());
                of_job
                    .or_default()
                    .insert(text(&new["metadata"]["uid"]).to_owned());
            }
            if write.place.plural != "jobs" {
                return Ok(());
            }
            let counted = new["status"]["succeeded"].as_u64().unwrap_or(0);
            let all = succeeded.get(&write.place.name).map_or(0, BTreeSet::len) as u64;
            so(counted <= all, || format!("{counted} counted, {all} succeeded"))
        });
        for (name, mode) in JOBS.into_iter().zip(["NonIndexed", "NonIndexed", "Indexed"]) {
            world.api.create(
                "jobs",
                json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
                    "completions": 4, "parallelism": 2, "backoffLimit": 6, "completionMode": mode,
                    "selector": {"matchLabels": {"app": name}}, "template": template(name)}}),
            );
        }
        let mut scene = Scene::start(&world, &["job-controller"]);
        scene.also(agents(world.clone()));
        scene.trouble(6000..14_000).await;
        scene.heals(jobs_are_complete).await;
        world.api.history()
    })
}

fn jobs_are_complete(api: &Api) -> Result<(), String> {
    for name in JOBS {
        let job = api.get("jobs", "default", name).ok_or("no Job")?;
        let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
        let complete = conditions
            .into_iter()
            .any(|c| c["type"] == "Complete" && c["status"] == "True");
        so(complete, || format!("complete: {}", job["status"]))?;
        so(job["status"]["succeeded"].as_u64() >= Some(4), || {
            "four counted".to_owned()
        })?;
    }
    let held = |pod: &Value| {
        pod["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|all| all.contains(&json!(TRACKING)))
    };
    so(!api.list("pods").iter().any(|pod| held(pod)), || {
        "no pod held".to_owned()
    })
}

#[test]
fn a_job_never_counts_a_success_twice() {
    seeds().for_each(|seed| drop(job(seed, None)));
}

#[test]
fn a_seed_decides_everything() {
    assert_eq!(job(5, None), job(5, None));
    assert_ne!(job(5, None), job(6, None));
}

/// Otherwise the promise above is no proof that a new leader waits for its caches.
#[test]
#[should_panic(expected = "counted")]
fn a_job_counts_twice_when_a_new_leader_trusts_its_caches() {
    (0..400).for_each(|seed| drop(job(seed, Some("trusts-warm-caches"))));
}

/// Only its own pods are deleted, and in the end there are as many as it asks for.
#[test]
fn a_replication_controller_ends_with_as_many_pods_as_it_should() {
    for seed in seeds() {
        World::run(seed, &[], None, |world| async move {
            world.api.judge(|write| {
                let owner = |pod: &Value| text(&pod["metadata"]["ownerReferences"][0]["uid"]).to_owned();
                let leaves = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
                let deleted = write.new.is_none_or(leaves) && write.old.is_some_and(|old| !leaves(old));
                let wrong = write.place.plural == "pods"
                    && write.by != "users"
                    && deleted
                    && write.old.is_none_or(|old| owner(old) != "uid-1");
                so(!wrong, || "a pod of somebody else is deleted".to_owned())
            });
            world.api.create(
                "replicationcontrollers",
                json!({"metadata": {"name": "web", "namespace": "default"},
                    "spec": {"replicas": 3, "selector": {"app": "web"}, "template": template("web")}}),
            );
            let mut scene = Scene::start(&world, &["replicationcontroller-controller"]);
            scene.also(agents(world.clone()));
            for replicas in [5, 1, 2] {
                scene.trouble(500..6000).await;
                let spec = json!({"spec": {"replicas": replicas}});
                world.api.change("replicationcontrollers", "default", "web", spec);
                // One that looks the same, and belongs to nobody; it's adopted, or let be.
                let mut stray = template("web");
                stray["metadata"]["name"] = json!(format!("stray-{replicas}"));
                stray["metadata"]["namespace"] = json!("default");
                world.api.create("pods", stray);
            }
            scene.trouble(500..6000).await;
            scene
                .heals(|api| {
                    let controller = api
                        .get("replicationcontrollers", "default", "web")
                        .ok_or("gone")?;
                    let pods = api.list("pods").len();
                    so(pods == 2, || format!("two pods, not {pods}"))?;
                    so(controller["status"]["readyReplicas"] == 2, || {
                        format!("{}", controller["status"])
                    })
                })
                .await;
        });
    }
}
