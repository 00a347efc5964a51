use super::{Observed, plan};
use crate::action::Action;
use crate::config::NodeConfig;
use crate::testing::{ago, merged, now, object, pod, story};
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn node(name: &str, ready: &str, over: Value) -> Arc<Node> {
    object(merged(
        json!({"metadata": {"name": name, "uid": name, "resourceVersion": "4"}, "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": ago(9)}]}}),
        over,
    ))
}

fn tainted(name: &str, ready: &str, keys: &[(&str, &str)]) -> Arc<Node> {
    let taints: Vec<Value> = keys
        .iter()
        .map(|(key, effect)| json!({"key": format!("node.kubernetes.io/{key}"), "effect": effect, "timeAdded": ago(1)}))
        .collect();
    node(name, ready, json!({"spec": {"taints": taints}}))
}

fn observed(nodes: Vec<Arc<Node>>, silence: &[(&str, u64)]) -> Observed {
    let at = Duration::from_secs(1000);
    Observed {
        heard: silence
            .iter()
            .map(|(name, s)| ((*name).to_owned(), at - Duration::from_secs(*s)))
            .collect(),
        nodes,
        pods: Vec::new(),
        evicted: BTreeMap::new(),
        config: NodeConfig::default(),
        at,
        now: now(),
    }
}

/// `node: key effect, ...` for every taint write.
fn taints(observed: &Observed) -> Vec<String> {
    let plan = plan(observed).plan;
    let Some(Action::Batch(members)) = plan.actions.first() else {
        return Vec::new();
    };
    members
        .iter()
        .filter_map(|member| match member {
            Action::Patch { target, patch, .. } => {
                let taints = patch["spec"]["taints"].as_array()?;
                let told: Vec<String> = taints
                    .iter()
                    .map(|taint| {
                        format!(
                            "{} {}",
                            taint["key"].as_str().unwrap().rsplit('/').next().unwrap(),
                            taint["effect"].as_str().unwrap()
                        )
                    })
                    .collect();
                Some(format!("{}: {}", target.key, told.join(", ")))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_silent_node_becomes_unknown_after_its_grace_period() {
    let nodes = vec![node("a", "True", json!({})), node("b", "True", json!({}))];
    assert!(
        plan(&observed(nodes.clone(), &[("a", 15), ("b", 1)]))
            .plan
            .actions
            .is_empty()
    );
    let decision = plan(&observed(nodes, &[("a", 16), ("b", 1)]));
    assert_eq!(story(&decision.plan), ["patch Node a"]);
    let Action::Batch(members) = &decision.plan.actions[0] else {
        panic!("a batch")
    };
    let Action::Patch { patch, .. } = &members[0] else {
        panic!("a patch")
    };
    let told: Vec<(&Value, &Value)> = patch["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| (&condition["type"], &condition["reason"]))
        .collect();
    assert_eq!(told[0], (&json!("Ready"), &json!("NodeStatusUnknown")));
    assert_eq!(told.len(), 4);
}

#[test]
fn taints_follow_conditions_and_leave_again() {
    let healthy = node("b", "True", json!({}));
    let lost = observed(vec![node("a", "Unknown", json!({})), Arc::clone(&healthy)], &[]);
    assert_eq!(
        taints(&lost),
        ["a: unreachable NoSchedule, unreachable NoExecute"]
    );
    let back = observed(
        vec![
            tainted(
                "a",
                "True",
                &[
                    ("unreachable", "NoSchedule"),
                    ("mine", "NoExecute"),
                    ("unreachable", "NoExecute"),
                ],
            ),
            healthy,
        ],
        &[],
    );
    assert_eq!(taints(&back), ["a: mine NoExecute"]);
}

#[test]
fn evictions_of_a_zone_are_rate_limited() {
    let nodes = vec![
        node("a", "Unknown", json!({})),
        node("b", "Unknown", json!({})),
        node("c", "True", json!({})),
        node("d", "True", json!({})),
    ];
    let mut world = observed(nodes, &[]);
    assert_eq!(
        taints(&world),
        [
            "a: unreachable NoSchedule, unreachable NoExecute",
            "b: unreachable NoSchedule"
        ]
    );
    world.nodes[0] = tainted(
        "a",
        "Unknown",
        &[("unreachable", "NoSchedule"), ("unreachable", "NoExecute")],
    );
    world.nodes[1] = tainted("b", "Unknown", &[("unreachable", "NoSchedule")]);
    world
        .evicted
        .insert(":".into(), world.at - Duration::from_secs(9));
    assert!(taints(&world).is_empty(), "a node in ten seconds");
    world
        .evicted
        .insert(":".into(), world.at - Duration::from_secs(10));
    assert_eq!(
        taints(&world),
        ["b: unreachable NoSchedule, unreachable NoExecute"]
    );
}

#[test]
fn nobody_is_evicted_while_all_zones_are_dark_or_a_small_zone_lost_most_nodes() {
    let dark = observed(
        vec![tainted(
            "a",
            "Unknown",
            &[("unreachable", "NoSchedule"), ("unreachable", "NoExecute")],
        )],
        &[],
    );
    assert_eq!(taints(&dark), ["a: unreachable NoSchedule"]);
    let mut nodes: Vec<_> = ["a", "b", "c"]
        .map(|name| node(name, "Unknown", json!({})))
        .to_vec();
    nodes.push(node("d", "True", json!({})));
    let told = taints(&observed(nodes, &[]));
    assert!(told.iter().all(|line| !line.contains("NoExecute")), "{told:?}");
}

#[test]
fn pods_on_an_unknown_node_are_marked_as_not_ready() {
    let mut world = observed(
        vec![
            tainted(
                "n1",
                "Unknown",
                &[("unreachable", "NoSchedule"), ("unreachable", "NoExecute")],
            ),
            node("n2", "True", json!({})),
        ],
        &[],
    );
    world.pods = vec![
        pod("here", None, json!({})),
        pod("there", None, json!({"spec": {"nodeName": "n2"}})),
    ];
    assert_eq!(story(&plan(&world).plan), ["patch Pod default/here"]);
}
