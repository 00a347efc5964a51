use super::graph::Graph;
use super::plan::{Observed, OwnerState, plan};
use crate::object::{MetaView, ResourceType};
use crate::testing::{ago, story};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use std::sync::Arc;

fn meta(uid: &str, owners: &[&str], over: Value) -> Arc<ObjectMeta> {
    let owners: Vec<Value> = owners
        .iter()
        .map(|owner| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "blockOwnerDeletion": true}))
        .collect();
    let base = json!({"name": uid, "namespace": "default", "uid": uid, "resourceVersion": "1", "ownerReferences": owners});
    Arc::new(serde_json::from_value(crate::testing::merged(base, over)).unwrap())
}

fn leaving(finalizer: &str) -> Value {
    json!({"deletionTimestamp": ago(1), "finalizers": [finalizer]})
}

/// The plan for `uid`; owners that the graph doesn't know are absent.
fn fate(graph: &Graph, uid: &str) -> Vec<String> {
    let (item, dependents) = graph.look(uid).unwrap();
    let owners = item
        .meta
        .owners()
        .iter()
        .map(|owner| {
            (
                owner.uid.clone(),
                graph.state(&owner.uid).unwrap_or(OwnerState::Absent),
            )
        })
        .collect();
    story(&plan(&Observed {
        item,
        dependents,
        owners,
    }))
}

fn sets() -> ResourceType {
    ResourceType::of::<ReplicaSet>()
}

fn pods() -> ResourceType {
    ResourceType::of::<Pod>()
}

#[test]
fn dependents_follow_an_owner_that_is_gone() {
    let mut graph = Graph::default();
    graph.apply(&sets(), meta("rs", &[], json!({})));
    assert!(
        graph.apply(&pods(), meta("pod", &["rs"], json!({}))).is_empty(),
        "the owner is there"
    );
    assert_eq!(fate(&graph, "pod"), Vec::<String>::new());
    assert_eq!(graph.remove("rs"), ["pod"]);
    assert_eq!(fate(&graph, "pod"), ["delete Pod default/pod"]);
}

#[test]
fn a_dependent_seen_before_its_owner_is_looked_at() {
    let mut graph = Graph::default();
    assert_eq!(graph.apply(&pods(), meta("pod", &["rs"], json!({}))), ["pod"]);
}

#[test]
fn one_owner_left_keeps_the_object_and_drops_the_other_reference() {
    let mut graph = Graph::default();
    graph.apply(&sets(), meta("rs", &[], json!({})));
    graph.apply(&pods(), meta("pod", &["rs", "gone"], json!({})));
    assert_eq!(fate(&graph, "pod"), ["patch Pod default/pod"]);
}

#[test]
fn foreground_deletion_waits_for_every_blocking_dependent() {
    let mut graph = Graph::default();
    graph.apply(&sets(), meta("rs", &[], json!({})));
    graph.apply(&pods(), meta("pod", &["rs"], json!({})));
    assert_eq!(
        graph.apply(&sets(), meta("rs", &[], leaving("foregroundDeletion"))),
        ["rs", "pod"]
    );
    assert_eq!(fate(&graph, "rs"), Vec::<String>::new());
    assert_eq!(fate(&graph, "pod"), ["delete Pod default/pod"]);
    assert_eq!(graph.remove("pod"), ["rs"]);
    assert_eq!(fate(&graph, "rs"), ["patch ReplicaSet default/rs"]);
}

#[test]
fn orphaning_frees_the_dependents_before_the_owner() {
    let mut graph = Graph::default();
    graph.apply(&sets(), meta("rs", &[], json!({})));
    graph.apply(&pods(), meta("pod", &["rs"], json!({})));
    assert_eq!(graph.apply(&sets(), meta("rs", &[], leaving("orphan"))), ["rs"]);
    assert_eq!(
        fate(&graph, "rs"),
        ["patch Pod default/pod", "patch ReplicaSet default/rs"]
    );
}
