//! Conversion between the served versions of a resource that shares its objects with another one.
//!
//! Two pairs exist in 1.36: `events` (core and events.k8s.io) and `horizontalpodautoscalers` (v1 and v2). Follows
//! `pkg/apis/events/v1/conversion.go` and `pkg/apis/autoscaling/v1/conversion.go`.

use serde_json::{Value, json};

use crate::GroupVersionKind;
use crate::tree;

/// Rewrites an object to another kind and version; `apiVersion` and `kind` are set in any case.
pub fn convert(object: &mut Value, to: &GroupVersionKind) {
    let from = GroupVersionKind::from_api_version(
        tree::text(object, &["apiVersion"]),
        tree::text(object, &["kind"]),
    );
    match (
        from.group.as_str(),
        from.version.as_str(),
        to.group.as_str(),
        to.version.as_str(),
        to.kind.as_str(),
    ) {
        ("", _, "events.k8s.io", _, "Event") => event_to_new(object),
        ("events.k8s.io", _, "", _, "Event") => event_to_core(object),
        ("autoscaling", "v1", "autoscaling", "v2", _) => autoscaler_to_v2(object),
        ("autoscaling", "v2", "autoscaling", "v1", _) => autoscaler_to_v1(object),
        _ => {}
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), json!(to.api_version()));
        map.insert("kind".to_owned(), json!(to.kind));
    }
}

/// Core name, new name.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(value) = tree::remove(object, &[from]) {
        tree::set(object, &[to], value);
    }
}

fn event_to_new(event: &mut Value) {
    for (core, new) in EVENT_FIELDS {
        rename(event, core, new);
    }
}

fn event_to_core(event: &mut Value) {
    for (core, new) in EVENT_FIELDS {
        rename(event, new, core);
    }
}

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn is_cpu(metric: &Value) -> bool {
    tree::text(metric, &["type"]) == "Resource" && tree::text(metric, &["resource", "name"]) == "cpu"
}

/// What v1 has no field for goes into annotations, so that nothing is lost on the way back.
fn autoscaler_to_v1(object: &mut Value) {
    let mut annotations = Vec::new();
    let metrics = tree::remove(object, &["spec", "metrics"]).unwrap_or(Value::Null);
    let (mut others, mut percent) = (Vec::new(), None);
    for metric in tree::list(&metrics, &[]) {
        let utilization = tree::int(metric, &["resource", "target", "averageUtilization"]);
        match utilization {
            Some(number) if is_cpu(metric) && percent.is_none() => percent = Some(number),
            _ => others.push(metric.clone()),
        }
    }
    if let Some(percent) = percent {
        tree::set(object, &["spec", "targetCPUUtilizationPercentage"], percent);
    }
    if !others.is_empty() {
        annotations.push((METRICS, Value::Array(others)));
    }
    if let Some(behavior) = tree::remove(object, &["spec", "behavior"]) {
        annotations.push((BEHAVIOR, behavior));
    }
    let current = tree::remove(object, &["status", "currentMetrics"]).unwrap_or(Value::Null);
    let mut others = Vec::new();
    for metric in tree::list(&current, &[]) {
        match tree::int(metric, &["resource", "current", "averageUtilization"]) {
            Some(number) if is_cpu(metric) => {
                tree::set(object, &["status", "currentCPUUtilizationPercentage"], number);
            }
            _ => others.push(metric.clone()),
        }
    }
    if !others.is_empty() {
        annotations.push((CURRENT_METRICS, Value::Array(others)));
    }
    if let Some(conditions) = tree::remove(object, &["status", "conditions"]) {
        annotations.push((CONDITIONS, conditions));
    }
    for (key, value) in annotations {
        tree::set(object, &["metadata", "annotations", key], value.to_string());
    }
}

fn autoscaler_to_v2(object: &mut Value) {
    let mut parked = |key: &str| {
        let text = tree::remove(object, &["metadata", "annotations", key])?;
        serde_json::from_str::<Value>(text.as_str()?).ok()
    };
    let (metrics, current) = (parked(METRICS), parked(CURRENT_METRICS));
    let (conditions, behavior) = (parked(CONDITIONS), parked(BEHAVIOR));
    if tree::at(object, &["metadata", "annotations"]).is_some_and(tree::is_empty) {
        tree::remove(object, &["metadata", "annotations"]);
    }
    let as_list = |value: Option<Value>| match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let mut metrics = as_list(metrics);
    if let Some(percent) = tree::remove(object, &["spec", "targetCPUUtilizationPercentage"]) {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.insert(
            0,
            json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}),
        );
    }
    if !metrics.is_empty() {
        tree::set(object, &["spec", "metrics"], metrics);
    }
    let mut current = as_list(current);
    if let Some(percent) = tree::remove(object, &["status", "currentCPUUtilizationPercentage"]) {
        let now = json!({"averageUtilization": percent, "averageValue": "0"});
        current.insert(
            0,
            json!({"type": "Resource", "resource": {"name": "cpu", "current": now}}),
        );
    }
    if !current.is_empty() {
        tree::set(object, &["status", "currentMetrics"], current);
    }
    if let Some(conditions) = conditions {
        tree::set(object, &["status", "conditions"], conditions);
    }
    if let Some(behavior) = behavior {
        tree::set(object, &["spec", "behavior"], behavior);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_the_same_in_both_groups() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "a"}, "message": "m",
            "reportingComponent": "c", "reason": "r", "count": 2});
        let mut new = core.clone();
        convert(&mut new, &GroupVersionKind::new("events.k8s.io", "v1", "Event"));
        assert_eq!(
            new,
            json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "regarding": {"name": "a"}, "note": "m",
                "reportingController": "c", "reason": "r", "deprecatedCount": 2})
        );
        convert(&mut new, &GroupVersionKind::new("", "v1", "Event"));
        assert_eq!(new, core);
    }

    #[test]
    fn an_autoscaler_survives_the_older_version() {
        let v2 = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {}}, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
                {"type": "Pods", "pods": {"metric": {"name": "x"}}}]}});
        let mut object = v2.clone();
        convert(
            &mut object,
            &GroupVersionKind::new("autoscaling", "v1", "HorizontalPodAutoscaler"),
        );
        assert_eq!(
            object["spec"],
            json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 70})
        );
        convert(
            &mut object,
            &GroupVersionKind::new("autoscaling", "v2", "HorizontalPodAutoscaler"),
        );
        assert_eq!(object, v2);
    }
}
