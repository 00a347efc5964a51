use super::{Eviction, Observed, plan};
use crate::action::Action;
use crate::config::NodeConfig;
use crate::testing::{ago, merged, now, object, pod, story};
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn node(name: &str, ready: &str, over: Value) -> Arc<Node> {
    let pressure = if ready == "Unknown" { "Unknown" } else { "False" };
    let conditions = [
        ("Ready", ready),
        ("MemoryPressure", pressure),
        ("DiskPressure", pressure),
        ("PIDPressure", pressure),
    ]
    .map(|(kind, status)| json!({"type": kind, "status": status, "lastHeartbeatTime": ago(9)}));
    object(merged(
        json!({"metadata": {"name": name, "uid": name, "resourceVersion": "4"}, "spec": {},
            "status": {"conditions": conditions}}),
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
        was_dark: false,
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

/// Nodes of which nothing was heard for a minute.
fn lost(names: &[&'static str]) -> Vec<(&'static str, u64)> {
    names.iter().map(|name| (*name, 60)).collect()
}

fn eviction(node: &str, at: Duration) -> Eviction {
    Eviction {
        node: node.to_owned(),
        at,
    }
}

#[test]
fn a_silent_node_becomes_unknown_after_its_grace_period() {
    let nodes = vec![node("a", "True", json!({})), node("b", "True", json!({}))];
    assert!(
        plan(&observed(nodes.clone(), &[("a", 12), ("b", 1)]))
            .plan
            .actions
            .is_empty()
    );
    let decision = plan(&observed(nodes, &[("a", 13), ("b", 1)]));
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
    let gone = observed(
        vec![node("a", "Unknown", json!({})), Arc::clone(&healthy)],
        &lost(&["a"]),
    );
    assert_eq!(
        taints(&gone),
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
    let mut world = observed(nodes, &lost(&["a", "b"]));
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
        .insert(":".into(), eviction("a", world.at - Duration::from_secs(9)));
    assert!(taints(&world).is_empty(), "a node in ten seconds");
    world
        .evicted
        .insert(":".into(), eviction("a", world.at - Duration::from_secs(10)));
    assert_eq!(
        taints(&world),
        ["b: unreachable NoSchedule, unreachable NoExecute"]
    );
}

#[test]
fn the_rate_is_a_zones_own_and_slower_in_a_large_zone_that_lost_most_nodes() {
    let in_zone = |name: &str, ready: &str, zone: &str| {
        node(
            name,
            ready,
            json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}}),
        )
    };
    let world = observed(
        vec![
            in_zone("a", "Unknown", "east"),
            in_zone("b", "True", "east"),
            in_zone("c", "Unknown", "west"),
            in_zone("d", "True", "west"),
        ],
        &lost(&["a", "c"]),
    );
    let told = taints(&world);
    assert!(
        told.len() == 2 && told.iter().all(|line| line.ends_with("NoExecute")),
        "{told:?}"
    );

    let mut nodes: Vec<_> = (0..51)
        .map(|n| node(&format!("n{n:02}"), "True", json!({})))
        .collect();
    let silent: Vec<String> = (0..30).map(|n| format!("n{n:02}")).collect();
    for (lost, name) in nodes.iter_mut().zip(&silent) {
        *lost = tainted(name, "Unknown", &[("unreachable", "NoSchedule")]);
    }
    let silence: Vec<(&str, u64)> = silent.iter().map(|name| (name.as_str(), 60)).collect();
    let mut world = observed(nodes, &silence);
    world
        .evicted
        .insert(":".into(), eviction("gone", world.at - Duration::from_secs(99)));
    assert!(taints(&world).is_empty(), "a node in a hundred seconds");
    world
        .evicted
        .insert(":".into(), eviction("gone", world.at - Duration::from_secs(100)));
    assert_eq!(
        taints(&world),
        ["n00: unreachable NoSchedule, unreachable NoExecute"]
    );
}

#[test]
fn a_taint_that_was_not_written_needs_no_second_turn() {
    let mut world = observed(
        vec![
            tainted("a", "Unknown", &[("unreachable", "NoSchedule")]),
            tainted("b", "Unknown", &[("unreachable", "NoSchedule")]),
            node("c", "True", json!({})),
        ],
        &lost(&["a", "b"]),
    );
    let turn = eviction("b", world.at - Duration::from_secs(1));
    world.evicted.insert(":".into(), turn.clone());
    assert_eq!(
        taints(&world),
        ["b: unreachable NoSchedule, unreachable NoExecute"]
    );
    assert_eq!(plan(&world).evicting[":"], turn, "the turn keeps its time");
}

#[test]
fn a_process_evicts_nobody_whose_silence_it_did_not_hear_itself() {
    // Another leader has called the node silent; this one has just begun to listen.
    let nodes = vec![
        tainted("a", "Unknown", &[("unreachable", "NoSchedule")]),
        node("b", "True", json!({})),
    ];
    assert!(taints(&observed(nodes.clone(), &[("a", 12)])).is_empty());
    assert_eq!(
        taints(&observed(nodes, &[("a", 13)])),
        ["a: unreachable NoSchedule, unreachable NoExecute"]
    );
}

#[test]
fn a_node_that_says_itself_that_it_is_not_ready_is_tainted_at_once() {
    let nodes = vec![node("a", "False", json!({})), node("b", "True", json!({}))];
    assert_eq!(
        taints(&observed(nodes, &[])),
        ["a: not-ready NoSchedule, not-ready NoExecute"]
    );
}

#[test]
fn after_a_full_disruption_the_others_get_time_to_come_back() {
    let mut world = observed(
        vec![
            node("back", "True", json!({})),
            tainted("late", "Unknown", &[("unreachable", "NoSchedule")]),
        ],
        &lost(&["late"]),
    );
    world.was_dark = true;
    let decision = plan(&world);
    assert!(!decision.dark);
    assert!(taints(&world).is_empty());
}

#[test]
fn nodes_that_fall_silent_together_are_a_disruption_before_the_first_is_given_up() {
    let nodes = vec![
        tainted("a", "Unknown", &[("unreachable", "NoSchedule")]),
        node("b", "True", json!({})),
        node("c", "True", json!({})),
    ];
    let world = observed(nodes.clone(), &[("a", 13), ("b", 11), ("c", 10)]);
    assert!(taints(&world).is_empty() && plan(&world).dark);
    let world = observed(nodes, &[("a", 13), ("b", 2), ("c", 1)]);
    assert_eq!(
        taints(&world),
        ["a: unreachable NoSchedule, unreachable NoExecute"]
    );
}

#[test]
fn excluded_nodes_say_nothing_about_their_zone() {
    let excluded = json!({"metadata": {"labels": {"node.kubernetes.io/exclude-disruption": ""}}});
    let world = observed(
        vec![
            node("a", "Unknown", json!({})),
            node("b", "True", excluded.clone()),
        ],
        &lost(&["a"]),
    );
    assert!(plan(&world).dark);
    let world = observed(
        vec![node("a", "True", json!({})), node("b", "Unknown", excluded)],
        &lost(&["b"]),
    );
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
    let told = taints(&observed(nodes, &lost(&["a", "b", "c"])));
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
