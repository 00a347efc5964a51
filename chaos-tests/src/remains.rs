//! What the store holds in the end of what a roll-out depends on: for the report of a violation.

use crate::invariants::{Change, NODES, Objects, PODS, REPLICA_SETS, conditions, is_going, number, text};
use serde_json::Value;

/// What is told of an object.
type Telling = fn(&Value) -> String;

/// A line for each ReplicaSet, node and pod.
pub(crate) fn lines(changes: &[Change]) -> Vec<String> {
    let folders: [(&str, Telling); 3] = [(REPLICA_SETS, sizes), (NODES, state), (PODS, state)];
    let of_folder = |(folder, told): (&str, Telling)| {
        let line = move |(key, object): (&String, &Value)| {
            let key = key.trim_start_matches("/registry/");
            let going = if is_going(object) {
                format!(", goes since {}", text(object, "/metadata/deletionTimestamp"))
            } else {
                String::new()
            };
            format!("{key}: {}{going}", told(object))
        };
        let objects = Objects::of(changes, folder);
        objects.0.iter().map(line).collect::<Vec<_>>()
    };
    folders.into_iter().flat_map(of_folder).collect()
}

fn sizes(set: &Value) -> String {
    format!(
        "{} wanted, {} there, {} available, generation {} of {} seen",
        number(set, "/spec/replicas"),
        number(set, "/status/replicas"),
        number(set, "/status/availableReplicas"),
        number(set, "/status/observedGeneration"),
        number(set, "/metadata/generation"),
    )
}

/// Where a pod is and how far, and all that is said to be so of it or of a node, or not.
fn state(object: &Value) -> String {
    let said = conditions(object).map(|condition| {
        let [kind, status, reason] = ["/type", "/status", "/reason"].map(|pointer| text(condition, pointer));
        format!("{kind} {status} {reason}")
    });
    let said: Vec<String> = said.collect();
    let [node, phase] = ["/spec/nodeName", "/status/phase"].map(|pointer| text(object, pointer));
    format!("{node} {phase} [{}]", said.join(", "))
}
