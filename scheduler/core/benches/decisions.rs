//! Decisions a second at 5,000 nodes, and what each kind of rule costs beside a plain pod.
//!
//! The ratios are the point: they hold on any machine. `cargo bench -p scheduler-core`.

use k8s_openapi::api::core::v1::{Node, Pod};
use scheduler_core::{Cluster, NodeInfo, PodInfo, Selector, Volumes, schedule};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

const NODES: usize = 5000;
const PLACED: usize = 5000;
const MEASURED: usize = 300;

fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    for index in 0..NODES {
        let name = format!("node-{index}");
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {
                "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{}", index % 3)}},
            "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}},
        }))
        .expect("a node");
        cluster.set_node(&name, NodeInfo::new(&node));
    }
    cluster
}

fn pod(name: &str, spec: &Value) -> Arc<PodInfo> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}]},
    });
    if let (Some(into), Some(from)) = (pod["spec"].as_object_mut(), spec.as_object()) {
        into.extend(from.clone());
    }
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    Arc::new(PodInfo::new(&pod))
}

/// Microseconds a decision.
fn measure(spec: &Value, group: Option<&Selector>) -> f64 {
    let (mut cluster, volumes, mut turn) = (cluster(), Volumes::default(), 0_u64);
    let pick = move |count: u64| {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (turn >> 33) % count
    };
    for index in 0..PLACED {
        cluster.assume(
            &pod(&format!("placed-{index}"), &json!({})),
            &format!("node-{}", index % NODES),
        );
    }
    let pods: Vec<_> = (0..MEASURED)
        .map(|index| pod(&format!("new-{index}"), spec))
        .collect();
    // The clock of the machine is what a benchmark is about.
    #[allow(clippy::disallowed_methods)]
    let start = Instant::now();
    for pod in &pods {
        if let Ok(node) = schedule(&mut cluster, &volumes, pod, group, &[], pick) {
            cluster.assume(pod, &node);
        }
    }
    start.elapsed().as_secs_f64() * 1e6 / MEASURED as f64
}

fn main() {
    let group = Selector::from_labels([(&"app".to_owned(), &"a".to_owned())]);
    let term =
        json!({"labelSelector": {"matchLabels": {"app": "b"}}, "topologyKey": "kubernetes.io/hostname"});
    let required = json!([term]);
    let preferred = json!([{"weight": 1, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "a"}},
        "topologyKey": "kubernetes.io/hostname"}}]);
    let spread = json!([{"maxSkew": 5, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "a"}}}]);
    let plain = measure(&json!({}), None);
    println!(
        "plain: {plain:.0} us a decision, {:.0} decisions a second",
        1e6 / plain
    );
    for (name, spec, group) in [
        ("default spreading", json!({}), Some(&group)),
        (
            "hard spreading",
            json!({"topologySpreadConstraints": spread}),
            None,
        ),
        (
            "node affinity",
            json!({"nodeSelector": {"topology.kubernetes.io/zone": "zone-1"}}),
            None,
        ),
        (
            "required anti-affinity",
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}),
            None,
        ),
        (
            "preferred affinity",
            json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}),
            None,
        ),
        (
            "pinned to a node",
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-7"]}]}]}}}}),
            None,
        ),
    ] {
        let cost = measure(&spec, group);
        println!("{name}: {:.2} of plain ({cost:.0} us)", cost / plain);
    }
}
