//! Nodes: who is given up, whose pods go, which addresses are given out.

use crate::scene::{Scene, so, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::Random;
use test_api::{Api, Faults, World, Write, ready, seeds};
use tokio::time::sleep;

const CONTROLLERS: &[&str] = &[
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "pod-garbage-collector-controller",
    "node-ipam-controller",
];

/// Names of the nodes whose agents are alive and well.
type Alive = Arc<Mutex<BTreeSet<String>>>;

fn is_alive(alive: &Alive, node: &str) -> bool {
    alive
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(node)
}

fn look(write: &Write<'_>, alive: &Alive) -> Result<(), String> {
    let leaves = |object: &Value| !object["metadata"]["deletionTimestamp"].is_null();
    let name = &write.place.name;
    if write.place.plural == "pods" && write.by != "users" {
        let node = write
            .old
            .map(|old| text(&old["spec"]["nodeName"]))
            .unwrap_or_default();
        let deleted = write.old.is_some_and(|old| !leaves(old)) && write.new.is_none_or(leaves);
        so(!deleted || !is_alive(alive, node), || {
            format!("{name} is deleted from {node}, which lives")
        })?;
    }
    let Some(new) = write.new.filter(|_| write.place.plural == "nodes") else {
        return Ok(());
    };
    let evicts = |taint: &Value| taint["effect"] == "NoExecute";
    let evicting = new["spec"]["taints"].as_array().into_iter().flatten().any(evicts);
    so(!evicting || !is_alive(alive, name), || {
        format!("{name} lives and is given up")
    })?;
    let range = &new["spec"]["podCIDR"];
    let mut others = write
        .objects
        .iter()
        .filter(|(place, _)| place.plural == "nodes" && place.name != *name);
    let twin = others.find(|(_, other)| !range.is_null() && other["spec"]["podCIDR"] == *range);
    so(twin.is_none(), || {
        format!(
            "{range} is given to {name} and {:?}",
            twin.map(|(place, _)| place)
        )
    })
}

/// Registers a node with a pod on it, then renews its lease and says that it's ready, as long as it lives.
async fn agent(world: World, alive: Alive, name: &'static str) {
    let now = || world.env().clock.now().to_string();
    let status = || {
        json!({"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
            "lastHeartbeatTime": now(), "lastTransitionTime": now()}]})
    };
    let renewed = || json!({"holderIdentity": name, "leaseDurationSeconds": 10, "renewTime": now()});
    alive
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(name.to_owned());
    world.api.create(
        "nodes",
        json!({"metadata": {"name": name}, "spec": {}, "status": status()}),
    );
    let place = json!({"name": name, "namespace": "kube-node-lease"});
    world
        .api
        .create("leases", json!({"metadata": place, "spec": renewed()}));
    world.api.create(
        "pods",
        json!({"metadata": {"name": format!("pod-{name}"), "namespace": "default"},
            "spec": {"nodeName": name, "containers": [{"name": "c"}], "tolerations": [{
                "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 4}]}}),
    );
    loop {
        sleep(Duration::from_millis(world.random.below(2900..3100))).await;
        world
            .api
            .change("leases", "kube-node-lease", name, json!({"spec": renewed()}));
        let unwell = world.api.get("nodes", "", name).is_some_and(|node| !ready(&node));
        if unwell {
            world.api.change("nodes", "", name, json!({"status": status()}));
        }
    }
}

fn story(seed: u64) {
    World::run(seed, &[], None, |world| async move {
        let alive = Alive::default();
        let judged = Arc::clone(&alive);
        world.api.judge(move |write| look(write, &judged));
        // Silence of a watch is what must not be taken for silence of nodes.
        let faults = |random: &Random| match random.below(0..2) {
            0 => Faults::lagging(random),
            _ => Faults::drawn(random),
        };
        let mut scene = Scene::start_with(&world, CONTROLLERS, faults);
        scene.also(agents_but_of(world.clone(), Arc::clone(&alive)));
        let lost = tokio::spawn(agent(world.clone(), Arc::clone(&alive), "n4"));
        // The names of later ones come before those that have their addresses.
        for name in ["n3", "n2", "n1"] {
            scene.trouble(0..4000).await;
            scene.also(agent(world.clone(), Arc::clone(&alive), name));
        }
        scene.trouble(2000..10_000).await;
        lost.abort();
        alive.lock().unwrap_or_else(PoisonError::into_inner).remove("n4");
        scene.trouble(0..20_000).await;
        scene.also(agent(world.clone(), Arc::clone(&alive), "a0"));
        scene.trouble(0..20_000).await;
        if world.chance(2) {
            world.api.delete("nodes", "", "n4", None);
        }
        scene.trouble(0..30_000).await;
        scene.heals(is_settled).await;
    });
}

/// Pods start and end where agents are alive.
async fn agents_but_of(world: World, alive: Alive) {
    loop {
        sleep(Duration::from_millis(world.random.below(100..800))).await;
        for pod in world.api.list("pods") {
            let node = text(&pod["spec"]["nodeName"]);
            if is_alive(&alive, node) && pod["status"]["phase"] == "Pending" {
                let running = crate::scene::running(&world);
                world
                    .api
                    .change("pods", "default", text(&pod["metadata"]["name"]), running);
            }
        }
    }
}

fn is_settled(api: &Api) -> Result<(), String> {
    for node in api.list("nodes") {
        let name = text(&node["metadata"]["name"]);
        so(!text(&node["spec"]["podCIDR"]).is_empty(), || {
            format!("{name} has addresses")
        })?;
        let taints = node["spec"]["taints"].as_array().map_or(0, Vec::len);
        so(name == "n4" || (taints == 0 && ready(&node)), || {
            format!("{name} is well")
        })?;
    }
    for name in ["n1", "n2", "n3", "a0"] {
        so(
            api.get("pods", "default", &format!("pod-{name}")).is_some(),
            || format!("a pod on {name}"),
        )?;
    }
    // Nobody confirms the end of a pod while its node is only silent.
    let lost = api.get("pods", "default", "pod-n4");
    let waits = api.get("nodes", "", "n4").is_some();
    let given_up = lost.is_none_or(|pod| waits && !pod["metadata"]["deletionTimestamp"].is_null());
    so(given_up, || "the pod of the lost node is given up".to_owned())
}

#[test]
fn no_living_node_is_given_up_no_addresses_are_given_twice_and_lost_pods_go() {
    // A third of them: a node takes its time to be given up, and so does its story.
    seeds().step_by(3).for_each(story);
}

/// Pods are seen at once, their nodes minutes later.
fn late(seed: u64) {
    World::run(seed, &[], None, |world| async move {
        let alive = Alive::default();
        let judged = Arc::clone(&alive);
        world.api.judge(move |write| look(write, &judged));
        let mut scene = Scene::start_with(&world, &["pod-garbage-collector-controller"], Faults::lagging);
        for name in ["n1", "n2", "n3"] {
            scene.trouble(0..20_000).await;
            scene.also(agent(world.clone(), Arc::clone(&alive), name));
        }
        scene.trouble(60_000..150_000).await;
        let pods = |api: &Api| api.list("pods").len();
        scene
            .heals(|api| so(pods(api) == 3, || "three pods".to_owned()))
            .await;
    });
}

#[test]
fn a_node_that_the_watch_does_not_show_yet_keeps_its_pods() {
    seeds().step_by(6).for_each(late);
}

/// Pod garbage collection trusted its copy of the nodes, and removed a pod from a node that lived.
#[test]
fn a_node_that_joined_a_minute_ago_unseen_keeps_its_pod() {
    late(8);
}
