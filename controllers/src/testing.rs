//! Objects for the plan tests, written as the JSON a person would write.

use crate::action::{Action, Plan};
use crate::object::Object;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::sync::Arc;

/// Ten minutes into the epoch: late enough that things can have an age.
pub fn now() -> Timestamp {
    Timestamp::from_second(600).unwrap()
}

/// Seconds before [`now`] in wire form.
pub fn ago(seconds: i64) -> String {
    Timestamp::from_second(600 - seconds).unwrap().to_string()
}

pub fn object<K: Object>(value: Value) -> Arc<K> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// A merge of JSON objects, deep, `over` winning.
pub fn merged(mut base: Value, over: Value) -> Value {
    merge(&mut base, over);
    base
}

pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// A pod in namespace `default` labelled `app=web`, running and ready for a minute, on node `n1`.
pub fn pod(name: &str, owner: Option<Value>, over: Value) -> Arc<Pod> {
    let owners: Vec<Value> = owner.into_iter().collect();
    object(merged(
        json!({
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "resourceVersion": "7",
                "labels": {"app": "web"}, "ownerReferences": owners, "creationTimestamp": ago(120)},
            "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ago(60)}]},
        }),
        over,
    ))
}

/// The controller reference `kind/name` with uid `uid-<name>`.
pub fn owned_by(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": format!("uid-{name}"),
        "controller": true, "blockOwnerDeletion": true})
}

/// What a plan does, a line an action; batches in one line.
pub fn story(plan: &Plan) -> Vec<String> {
    plan.actions.iter().map(Action::summary).collect()
}
