//! Three nodes: pods reach each other without translation, and a dead node's pods are replaced.

use crate::world::{World, get, wait};

#[test]
fn pods_of_three_nodes_are_one_network_and_survive_a_dead_node() {
    let world = World::up("nodes", 3);
    world.kubectl(&[
        "create",
        "deployment",
        "hw",
        "--image=trireme/hello:1",
        "--port=80",
        "--replicas=6",
    ]);
    world.kubectl(&["rollout", "status", "deployment/hw", "--timeout=180s"]);
    let pods = pods(&world);
    let nodes: std::collections::BTreeSet<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
    assert_eq!(nodes.len(), 3, "pods are spread: {pods:?}");

    for from in &pods {
        let to = pods
            .iter()
            .find(|pod| pod.node != from.node)
            .expect("another node's pod");
        let answer = world.kubectl(&[
            "exec",
            &from.name,
            "--",
            "/hello",
            "get",
            &format!("http://{}/", to.address),
        ]);
        assert!(
            answer.contains(&to.name),
            "{} to {}: {answer}",
            from.name,
            to.name
        );
    }

    world.kubectl(&["expose", "deployment", "hw", "--type=NodePort"]);
    let url = world.url("hw");
    let port = url.rsplit(':').next().expect("a port").to_owned();
    for line in world.trireme(&["node", "list"]).lines() {
        let address = line.split_whitespace().last().expect("an address");
        assert!(
            wait(|| get(&format!("http://{address}:{port}")).is_ok()),
            "no answer by {address}"
        );
    }

    let killed = format!("{}-3", world.profile);
    world.trireme(&["node", "remove", &killed]);
    assert!(wait(|| {
        let left = self::pods(&world);
        left.len() == 6 && left.iter().all(|pod| pod.node != killed && pod.running)
    }));
    world.kubectl(&["rollout", "status", "deployment/hw", "--timeout=180s"]);
}

#[derive(Debug)]
struct Pod {
    name: String,
    node: String,
    address: String,
    running: bool,
}

fn pods(world: &World) -> Vec<Pod> {
    let list: serde_json::Value =
        serde_json::from_str(&world.kubectl(&["get", "pods", "-o", "json"])).expect("json");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    list["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|pod| Pod {
            name: text(&pod["metadata"]["name"]),
            node: text(&pod["spec"]["nodeName"]),
            address: text(&pod["status"]["podIP"]),
            running: pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null(),
        })
        .collect()
}
