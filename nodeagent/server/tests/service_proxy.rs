//! The service proxy with the real kernel: a "node" namespace with two "pods" behind a bridge, real TCP through it.
//!
//! Needs root, iproute2, nftables and busybox-static; says so when something is missing.

// Real processes and packets: real time.
#![allow(clippy::disallowed_methods)]

use nodeagent_core::{ProxyInput, Ruleset, plan_proxy};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Namespaces of this test, removed when it ends.
struct World {
    names: Vec<String>,
    servers: Vec<(Child, tempfile::TempDir)>,
}

impl World {
    /// `node` routes between a LAN side (`client`) and a bridge with the pods `p1` and `p2`.
    fn new() -> Self {
        let tag = std::process::id();
        let name = |part: &str| format!("sp{tag}-{part}");
        let world = Self {
            names: ["node", "client", "p1", "p2"].map(name).to_vec(),
            servers: Vec::new(),
        };
        for namespace in &world.names {
            run(&format!("ip netns add {namespace}"));
            run(&format!("ip -n {namespace} link set lo up"));
        }
        let [node, client, p1, p2] = [0, 1, 2, 3].map(|i| world.names[i].clone());
        run(&format!("ip -n {node} link add br0 type bridge"));
        run(&format!("ip -n {node} addr add 10.244.1.1/24 dev br0"));
        run(&format!("ip -n {node} link set br0 up"));
        for (index, pod) in [&p1, &p2].into_iter().enumerate() {
            run(&format!(
                "ip -n {node} link add v{index} type veth peer name eth0 netns {pod}"
            ));
            run(&format!("ip -n {node} link set v{index} master br0 up"));
            // A pod that is a client of its own Service comes back through its own port.
            run(&format!(
                "ip -n {node} link set v{index} type bridge_slave hairpin on"
            ));
            run(&format!(
                "ip -n {pod} addr add 10.244.1.{}/24 dev eth0",
                index + 2
            ));
            run(&format!("ip -n {pod} link set eth0 up"));
            run(&format!("ip -n {pod} route add default via 10.244.1.1"));
        }
        run(&format!(
            "ip -n {node} link add lan type veth peer name eth0 netns {client}"
        ));
        run(&format!("ip -n {node} addr add 10.200.77.11/24 dev lan"));
        run(&format!("ip -n {node} link set lan up"));
        run(&format!("ip -n {client} addr add 10.200.77.99/24 dev eth0"));
        run(&format!("ip -n {client} link set eth0 up"));
        // A node has a default route; without one, a service address is unreachable before any rule sees it.
        run(&format!("ip -n {node} route add default via 10.200.77.99"));
        for setting in ["net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"] {
            run(&format!("nsenter --net=/run/netns/{node} sysctl -qw {setting}"));
        }
        world
    }

    fn serve(&mut self, pod: usize, answer: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("index.html"), answer).expect("a page");
        let child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.names[pod]))
            .args(["busybox", "httpd", "-f", "-p", "8080", "-h"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("busybox-static and nsenter are installed");
        self.servers.push((child, folder));
    }

    fn apply(&self, transaction: &str) {
        let mut child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.names[0]))
            .args(["nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nftables is installed");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(transaction.as_bytes())
            .expect("nft reads");
        assert!(
            child.wait().expect("nft ends").success(),
            "nft refused:\n{transaction}"
        );
    }

    /// One connection from a namespace; the body, or `None` when it is refused or times out.
    fn get(&self, from: usize, target: &str) -> Option<String> {
        let output = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.names[from]))
            .args([
                "curl",
                "-s",
                "--http0.9",
                "--max-time",
                "2",
                &format!("http://{target}/"),
            ])
            .output()
            .expect("curl is installed");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the servers answer at their own addresses.
    fn wait_for(&self, from: usize, target: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.get(from, target).is_none() {
            assert!(Instant::now() < deadline, "no answer from {target}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (server, _) in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        for namespace in &self.names {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let program = words.next().expect("a command");
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|e| panic!("{command}: {e}"));
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn ruleset(affinity: &str, endpoints: &[&str]) -> Ruleset {
    let service = json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": {"type": "NodePort",
        "clusterIP": "10.96.0.5", "sessionAffinity": affinity, "ports": [{"port": 80, "nodePort": 30080}]}});
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|a| json!({"addresses": [a], "nodeName": "n1", "conditions": {"ready": true}}))
        .collect();
    let slice = json!({"metadata": {"name": "web-1", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": endpoints});
    plan_proxy(&ProxyInput {
        services: &[Arc::new(serde_json::from_value(service).expect("a service"))],
        slices: &[Arc::new(serde_json::from_value(slice).expect("a slice"))],
        node_name: "n1",
        cluster_cidr: "10.244.0.0/16".parse().ok(),
        served_locally: &[],
    })
}

#[test]
fn services_carry_real_traffic() {
    const NODE: usize = 0;
    const CLIENT: usize = 1;
    const P1: usize = 2;
    let mut world = World::new();
    world.serve(2, "one");
    world.serve(3, "two");
    world.wait_for(NODE, "10.244.1.2:8080");
    world.wait_for(NODE, "10.244.1.3:8080");
    let both = ["10.244.1.2", "10.244.1.3"];
    let first = ruleset("None", &both);
    world.apply(&first.full());
    world.apply(&first.full());

    // Address from a pod (itself among the endpoints: hairpin) and from the node; node port from outside.
    for (from, target) in [
        (P1, "10.96.0.5"),
        (NODE, "10.96.0.5"),
        (CLIENT, "10.200.77.11:30080"),
    ] {
        let answers: Vec<String> = (0..24)
            .map(|_| world.get(from, target).expect("an answer"))
            .collect();
        for wanted in ["one", "two"] {
            assert!(
                answers.iter().any(|a| a == wanted),
                "{wanted} never answered {from} at {target}: {answers:?}"
            );
        }
    }

    // One endpoint leaves: nothing reaches it any more.
    let mut second = ruleset("None", &["10.244.1.3"]);
    world.apply(&second.change_from(&first).expect("a change"));
    assert!((0..12).all(|_| world.get(P1, "10.96.0.5").as_deref() == Some("two")));

    // A client with affinity stays where it was first sent.
    let mut third = ruleset("ClientIP", &both);
    world.apply(&third.change_from(&second).expect("a change"));
    let chosen = world.get(P1, "10.96.0.5").expect("an answer");
    assert!((0..12).all(|_| world.get(P1, "10.96.0.5").as_ref() == Some(&chosen)));
    let chosen = world.get(CLIENT, "10.200.77.11:30080").expect("an answer");
    assert!((0..12).all(|_| world.get(CLIENT, "10.200.77.11:30080").as_ref() == Some(&chosen)));

    // Without endpoints, connections are refused at once rather than left to time out.
    let mut fourth = ruleset("None", &[]);
    world.apply(&fourth.change_from(&third).expect("a change"));
    let start = Instant::now();
    assert_eq!(world.get(P1, "10.96.0.5"), None);
    assert_eq!(world.get(CLIENT, "10.200.77.11:30080"), None);
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "refusals took {:?}",
        start.elapsed()
    );
}
