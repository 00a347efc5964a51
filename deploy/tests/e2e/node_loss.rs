//! Lost nodes: their pods are replaced elsewhere, once, and a node that comes back late does no harm. Seconds are
//! printed as a measurement; what is asserted is only that it happens.

use crate::world::{Callers, World, wait};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

const REPLICAS: usize = 6;

#[test]
fn the_pods_of_a_lost_node_are_replaced_elsewhere_and_its_return_does_no_harm() {
    let world = World::up("loss", 3);
    world.kubectl(&[
        "create",
        "deployment",
        "hw",
        "--image=trireme/hello:1",
        &format!("--replicas={REPLICAS}"),
    ]);
    world.kubectl(&["rollout", "status", "deployment/hw", "--timeout=180s"]);
    world.apply(&stateful_set(), &[]);
    world.kubectl(&["rollout", "status", "statefulset/db", "--timeout=180s"]);

    let killed = format!("{}-2", world.profile);
    let start = Instant::now();
    kill_node(&world, &killed);
    replaced(&world, &killed, "killed", start);
    world.trireme(&["start"]);
    settled(&world);

    // Cut off, the node's pods live on, and it can't be told to end them.
    let cut = format!("{}-3", world.profile);
    let before = pods(&world);
    let there: Vec<&Pod> = before.iter().filter(|pod| pod.node == cut).collect();
    assert!(
        there.iter().any(|pod| pod.name.starts_with("db-"))
            && there.iter().any(|pod| pod.name.starts_with("hw-")),
        "nothing to lose: {before:?}"
    );
    let start = Instant::now();
    link(&world, 3, "down");
    replaced(&world, &cut, "cut off", start);
    let now = by_name(&world);
    for pod in there.iter().filter(|pod| pod.name.starts_with("db-")) {
        let same = now.get(&pod.name).expect("nobody may remove it but its node");
        assert!(
            same.uid == pod.uid && same.ending,
            "a second {} beside the one that may still run: {same:?}",
            pod.name
        );
    }

    link(&world, 3, "up");
    settled(&world);
    let now = by_name(&world);
    for pod in there {
        let same = now.get(&pod.name).is_some_and(|new| new.uid == pod.uid);
        assert!(!same, "{} was given up and came back", pod.name);
    }
}

#[test]
fn without_its_control_plane_a_node_keeps_its_pods() {
    let world = World::up("alone", 1);
    world.kubectl(&[
        "create",
        "deployment",
        "hw",
        "--image=trireme/hello:1",
        "--port=80",
    ]);
    world.kubectl(&["expose", "deployment", "hw", "--type=NodePort"]);
    let url = world.url("hw");
    let before = pods(&world);
    let callers = Callers::start(&url);
    kill(&world, "lan");
    // Longer than any lease or grace period: nothing may come of it.
    std::thread::sleep(std::time::Duration::from_secs(25));
    let (answers, failures) = callers.stop();
    assert!(
        answers > 0 && failures.is_empty(),
        "{answers} answers, then {failures:?}"
    );

    // The agent alone starts anew, and finds nobody to ask what should run.
    let agent = pid(&world, &format!("{}-1", world.profile));
    let callers = Callers::start(&url);
    let killed = Command::new("kill").args(["-9", &agent.to_string()]).status();
    assert!(killed.expect("kill").success());
    std::thread::sleep(std::time::Duration::from_secs(5));
    let (answers, failures) = callers.stop();
    assert!(
        answers > 0 && failures.is_empty(),
        "{answers} answers, then {failures:?}"
    );

    world.trireme(&["start"]);
    world.kubectl(&["rollout", "status", "deployment/hw", "--timeout=120s"]);
    let after = pods(&world);
    assert_eq!(
        before.iter().map(|pod| &pod.uid).collect::<Vec<_>>(),
        after.iter().map(|pod| &pod.uid).collect::<Vec<_>>()
    );
    assert!(after.iter().all(|pod| pod.restarts == 0), "{after:?}");
}

/// Waits until all replicas of the Deployment are bound, then until they run, on other nodes than `lost`.
fn replaced(world: &World, lost: &str, how: &str, start: Instant) {
    let elsewhere = |good: fn(&Pod) -> bool| {
        let pods = pods(world);
        let alive = pods
            .iter()
            .filter(|pod| pod.name.starts_with("hw-") && !pod.ending);
        let alive: Vec<&Pod> = alive.collect();
        alive.len() == REPLICAS
            && alive
                .iter()
                .all(|pod| !pod.node.is_empty() && pod.node != lost && good(pod))
    };
    assert!(wait(|| elsewhere(|_| true)), "not bound: {:?}", pods(world));
    println!(
        "node {how}: replacements bound after {:.1} s",
        start.elapsed().as_secs_f64()
    );
    assert!(
        wait(|| elsewhere(|pod| pod.running)),
        "not running: {:?}",
        pods(world)
    );
    println!(
        "node {how}: replacements running after {:.1} s",
        start.elapsed().as_secs_f64()
    );
}

/// Waits until nothing is going away any more and everything runs.
fn settled(world: &World) {
    let done = wait(|| {
        let pods = pods(world);
        pods.len() == REPLICAS + 3 && pods.iter().all(|pod| pod.running && !pod.ending)
    });
    assert!(done, "{:?}", pods(world));
    let reachable = wait(|| {
        let nodes = world.kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].spec.taints}"]);
        !nodes.contains("unreachable") && !nodes.contains("not-ready")
    });
    assert!(reachable, "{}", world.kubectl(&["get", "nodes", "-o", "yaml"]));
}

fn stateful_set() -> String {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
        "serviceName": "db", "replicas": 3, "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
            "terminationGracePeriodSeconds": 2,
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "db"}}}],
            "containers": [{"name": "c", "image": "trireme/hello:1"}]}}}})
    .to_string()
}

#[derive(Debug)]
struct Pod {
    name: String,
    uid: String,
    node: String,
    running: bool,
    ending: bool,
    restarts: u64,
}

fn pods(world: &World) -> Vec<Pod> {
    let list: Value = serde_json::from_str(&world.kubectl(&["get", "pods", "-o", "json"])).expect("json");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pod = |pod: &Value| Pod {
        name: text(&pod["metadata"]["name"]),
        uid: text(&pod["metadata"]["uid"]),
        node: text(&pod["spec"]["nodeName"]),
        running: pod["status"]["phase"] == "Running",
        ending: !pod["metadata"]["deletionTimestamp"].is_null(),
        restarts: pod["status"]["containerStatuses"][0]["restartCount"]
            .as_u64()
            .unwrap_or(0),
    };
    list["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(pod)
        .collect()
}

fn by_name(world: &World) -> BTreeMap<String, Pod> {
    pods(world)
        .into_iter()
        .map(|pod| (pod.name.clone(), pod))
        .collect()
}

/// SIGKILL to everything that runs on the node: agent, runtime, shims, containers.
fn kill_node(world: &World, node: &str) {
    let number = node.rsplit('-').next().expect("a number");
    kill(world, number);
}

/// SIGKILL to every process in a network namespace of the cluster and to all their descendants.
fn kill(world: &World, namespace: &str) {
    let script = format!(
        "all() {{ for p in $1; do echo $p; all \"$(pgrep -P $p)\"; done; }}\n\
         kill -9 $(all \"$(ip netns pids trireme-{}-{namespace})\" | sort -u)\n",
        world.profile
    );
    let status = Command::new("sh").args(["-c", &script]).status().expect("sh");
    assert!(status.success(), "killing failed: {status}");
}

/// The node's end of its cable in the switch: downing it cuts the node off and leaves its routes.
fn link(world: &World, number: u8, state: &str) {
    let status = Command::new("ip")
        .args(["-n", &format!("trireme-{}-lan", world.profile)])
        .args(["link", "set", &format!("n{number}"), state])
        .status();
    assert!(status.expect("ip").success());
}

/// The pid of a component.
fn pid(world: &World, component: &str) -> u64 {
    let output = world
        .trireme_command(&["status", "-o", "json"])
        .output()
        .expect("trireme");
    let status: Value = serde_json::from_slice(&output.stdout).expect("json");
    let components = status["components"].as_array().expect("a list").iter();
    components
        .filter(|found| found["name"] == component)
        .find_map(|found| found["pid"].as_u64())
        .expect("it runs")
}
