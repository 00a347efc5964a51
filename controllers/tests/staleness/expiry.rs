//! What is deleted when its time is over: not if somebody gave it more time.

use crate::scene::{Scene, so, text};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use test_api::{World, seeds};

const CONTROLLERS: &[&str] = &["token-cleaner-controller", "ttl-after-finished-controller"];

fn encoded(time: Timestamp) -> Value {
    json!(ByteString(time.to_string().into_bytes()))
}

fn expires(object: &Value, plural: &str) -> Option<Timestamp> {
    match plural {
        "secrets" => {
            let bytes: ByteString = serde_json::from_value(object["data"]["expiration"].clone()).ok()?;
            std::str::from_utf8(&bytes.0).ok()?.parse().ok()
        }
        "jobs" => {
            let seconds = object["spec"]["ttlSecondsAfterFinished"].as_i64()?;
            let ended: Timestamp = text(&object["status"]["conditions"][0]["lastTransitionTime"])
                .parse()
                .ok()?;
            Some(ended + SignedDuration::from_secs(seconds))
        }
        _ => None,
    }
}

fn story(seed: u64) {
    World::run(seed, &[], None, |world| async move {
        let clock = world.env().clock;
        let judged = world.env().clock;
        world.api.judge(move |write| {
            let leaves = |object: &Value| !object["metadata"]["deletionTimestamp"].is_null();
            let deleted = write
                .old
                .filter(|old| !leaves(old) && write.new.is_none_or(leaves));
            let Some(old) = deleted else {
                return Ok(());
            };
            let over = expires(old, write.place.plural).is_some_and(|at| at <= judged.now());
            so(over, || {
                format!("{} is deleted before its time", write.place.name)
            })
        });
        let scene = Scene::start(&world, CONTROLLERS);
        for number in 0..6 {
            let name = format!("x{number}");
            let soon = clock.now() + SignedDuration::from_secs(2);
            let place = json!({"name": name, "namespace": "kube-system"});
            world.api.create(
                "secrets",
                json!({"metadata": place, "type": "bootstrap.kubernetes.io/token", "data": {"expiration": encoded(soon)}}),
            );
            world.api.create(
                "jobs",
                json!({"metadata": place, "spec": {"ttlSecondsAfterFinished": 2, "template": {}}, "status": {"conditions": [
                    {"type": "Complete", "status": "True", "lastTransitionTime": clock.now().to_string()}]}}),
            );
            scene.trouble(0..3000).await;
            if world.chance(2) {
                let later = clock.now() + SignedDuration::from_secs(3);
                let data = json!({"data": {"expiration": encoded(later)}});
                world.api.change("secrets", "kube-system", &name, data);
                let spec = json!({"spec": {"ttlSecondsAfterFinished": 8}});
                world.api.change("jobs", "kube-system", &name, spec);
            }
        }
        scene.trouble(0..3000).await;
        scene
            .heals(|api| {
                // What waits for its dependents is deleted as far as this is about.
                let jobs = api
                    .list("jobs")
                    .into_iter()
                    .filter(|job| job["metadata"]["deletionTimestamp"].is_null());
                let left = api.list("secrets").len() + jobs.count();
                so(left == 0, || format!("{left} are left"))
            })
            .await;
    });
}

#[test]
fn nothing_is_deleted_before_its_time_and_all_in_the_end() {
    seeds().for_each(story);
}
