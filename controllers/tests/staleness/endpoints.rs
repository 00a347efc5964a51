//! EndpointSlices and Endpoints: who is reached.

use crate::scene::{Scene, so, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use test_api::{Api, World, ready, seeds};

/// Pods that are ready all the time, at their addresses.
const STEADY: [(&str, &str); 2] = [("steady-0", "10.1.0.1"), ("steady-1", "10.1.0.2")];

fn pod(name: &str, address: &str, port: u16) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [
            {"name": "http", "containerPort": port, "protocol": "TCP"}]}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [
            {"type": "Ready", "status": "True"}]}})
}

fn addresses(slice: &Value) -> impl Iterator<Item = &str> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .map(|endpoint| text(&endpoint["addresses"][0]))
}

fn story(seed: u64) {
    World::run(seed, &[], None, |world| async move {
        let mut listed = BTreeSet::new();
        world.api.judge(move |write| {
            if write.place.plural != "endpointslices" {
                return Ok(());
            }
            let slices = write
                .objects
                .iter()
                .filter(|(place, _)| place.plural == "endpointslices");
            let now: BTreeSet<&str> = slices.flat_map(|(_, slice)| addresses(slice)).collect();
            for (name, address) in STEADY {
                if now.contains(address) {
                    listed.insert(name);
                } else {
                    so(!listed.contains(name), || {
                        format!("{name} isn't reached any more")
                    })?;
                }
            }
            Ok(())
        });
        let service = |port: u16| {
            json!({"selector": {"app": "web"}, "clusterIP": "10.96.0.1", "ports": [
                {"name": format!("p{port}"), "port": port, "targetPort": "http", "protocol": "TCP"}]})
        };
        world.api.create(
            "services",
            json!({"metadata": {"name": "web", "namespace": "default"}, "spec": service(80)}),
        );
        for ((name, address), port) in STEADY.into_iter().zip([8080, 9090]) {
            world.api.create("pods", pod(name, address, port));
        }
        let controllers = &["endpointslice-controller", "endpoints-controller"];
        let scene = Scene::start(&world, controllers);
        for step in 0_u16..14 {
            scene.trouble(50..2500).await;
            let name = format!("c{}", world.random.below(0..4));
            match world.random.below(0..4) {
                0 => world.api.change(
                    "services",
                    "default",
                    "web",
                    json!({"spec": service(80 + step % 2)}),
                ),
                1 => world.api.delete("pods", "default", &name, None),
                _ if world.api.get("pods", "default", &name).is_none() => {
                    let port = [8080, 9090][usize::from(step % 2)];
                    world
                        .api
                        .create("pods", pod(&name, &format!("10.2.0.{step}"), port));
                }
                _ => {
                    let conditions = json!([{"type": "Ready", "status": "False"}]);
                    world.api.change(
                        "pods",
                        "default",
                        &name,
                        json!({"status": {"conditions": conditions}}),
                    );
                }
            }
            world.api.confirm("default", &name);
        }
        scene.heals(is_complete).await;
    });
}

/// Each ready pod stands in one slice, once, and in the Endpoints; nobody else does.
fn is_complete(api: &Api) -> Result<(), String> {
    let pods = api.list("pods");
    let wanted: BTreeMap<&str, usize> = pods
        .iter()
        .filter(|pod| ready(pod) && pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| (text(&pod["status"]["podIP"]), 1))
        .collect();
    let slices: Vec<Arc<Value>> = api.list("endpointslices");
    let mut found = BTreeMap::new();
    for address in slices.iter().flat_map(|slice| addresses(slice)) {
        *found.entry(address).or_insert(0) += 1;
    }
    so(found == wanted, || format!("slices {found:?}, pods {wanted:?}"))?;
    let endpoints = api.get("endpoints", "default", "web").ok_or("no Endpoints")?;
    let subsets = endpoints["subsets"].as_array().into_iter().flatten();
    let legacy = subsets.flat_map(|subset| subset["addresses"].as_array().into_iter().flatten());
    let legacy: BTreeMap<&str, usize> = legacy.map(|address| (text(&address["ip"]), 1)).collect();
    so(legacy == wanted, || {
        format!("Endpoints {legacy:?}, pods {wanted:?}")
    })
}

#[test]
fn a_ready_pod_that_is_listed_stays_reachable_and_slices_end_as_the_pods_are() {
    seeds().for_each(story);
}
