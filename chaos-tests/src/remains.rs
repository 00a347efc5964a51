//! What the store holds in the end of what a roll-out depends on: for the report of a violation.

use crate::invariants::{Change, NODES, Objects, PODS, REPLICA_SETS, text};
use serde_json::Value;

/// A line for each node, ReplicaSet and pod.
pub(crate) fn lines(changes: &[Change]) -> Vec<String> {
    let mut objects = Objects::default();
    let folders = [NODES, REPLICA_SETS, PODS];
    for change in changes
        .iter()
        .filter(|change| folders.iter().any(|folder| change.is_of(folder)))
    {
        objects.follow(change);
    }
    let line = |(key, object): (&String, &Value)| {
        let key = key.trim_start_matches("/registry/");
        let state = if key.contains("replicasets/") {
            numbers(object)
        } else {
            conditions(object)
        };
        let going = text(object, "/metadata/deletionTimestamp");
        let going = if going.is_empty() {
            String::new()
        } else {
            format!(", goes since {going}")
        };
        format!("{key}: {state}{going}")
    };
    objects.0.iter().map(line).collect()
}

fn numbers(set: &Value) -> String {
    let number = |pointer| set.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    format!(
        "{} wanted, {} there, {} available, generation {} of {} seen",
        number("/spec/replicas"),
        number("/status/replicas"),
        number("/status/availableReplicas"),
        number("/status/observedGeneration"),
        number("/metadata/generation"),
    )
}

/// Where a pod is, and what is not so of it or of a node.
fn conditions(object: &Value) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let conditions = conditions.into_iter().flatten().map(|condition| {
        let [kind, status, reason] = ["/type", "/status", "/reason"].map(|pointer| text(condition, pointer));
        format!("{kind} {status} {reason}")
    });
    let conditions: Vec<String> = conditions.collect();
    let [node, phase] = ["/spec/nodeName", "/status/phase"].map(|pointer| text(object, pointer));
    format!("{node} {phase} [{}]", conditions.join(", "))
}
