//! Defaults of workloads (`pkg/apis/apps/v1/defaults.go`, `pkg/apis/autoscaling/v2/defaults.go`, 1.36).

use serde_json::{Value, json};

use super::pod;
use crate::tree;

const TEMPLATE: [&str; 2] = ["spec", "template"];

pub(super) fn deployment(object: &mut Value) {
    pod::template(object, &TEMPLATE);
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    tree::set_default(spec, "replicas", 1);
    tree::set_default(spec, "revisionHistoryLimit", 10);
    tree::set_default(spec, "progressDeadlineSeconds", 600);
    tree::set_default(spec, "strategy", json!({}));
    if let Some(strategy) = tree::at_mut(spec, &["strategy"]) {
        tree::set_default_text(strategy, "type", "RollingUpdate");
        if tree::text(strategy, &["type"]) == "RollingUpdate" {
            tree::set_default(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = tree::at_mut(strategy, &["rollingUpdate"]) {
                tree::set_default(rolling, "maxUnavailable", "25%");
                tree::set_default(rolling, "maxSurge", "25%");
            }
        }
    }
}

pub(super) fn replica_set(object: &mut Value) {
    pod::template(object, &TEMPLATE);
    if let Some(spec) = tree::at_mut(object, &["spec"]) {
        tree::set_default(spec, "replicas", 1);
    }
}

pub(super) fn replication_controller(object: &mut Value) {
    pod::template(object, &TEMPLATE);
    let labels = tree::at(object, &["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels.filter(|labels| !tree::is_empty(labels)) {
        if tree::at(object, &["spec", "selector"]).is_none_or(tree::is_empty) {
            tree::set(object, &["spec", "selector"], labels.clone());
        }
        if tree::at(object, &["metadata", "labels"]).is_none_or(tree::is_empty) {
            tree::set(object, &["metadata", "labels"], labels);
        }
    }
    if let Some(spec) = tree::at_mut(object, &["spec"]) {
        tree::set_default(spec, "replicas", 1);
    }
}

pub(super) fn stateful_set(object: &mut Value) {
    pod::template(object, &TEMPLATE);
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    tree::set_default(spec, "replicas", 1);
    tree::set_default(spec, "revisionHistoryLimit", 10);
    tree::set_default_text(spec, "podManagementPolicy", "OrderedReady");
    tree::set_default(spec, "updateStrategy", json!({}));
    if let Some(strategy) = tree::at_mut(spec, &["updateStrategy"]) {
        tree::set_default_text(strategy, "type", "RollingUpdate");
        if tree::text(strategy, &["type"]) == "RollingUpdate" {
            tree::set_default(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = tree::at_mut(strategy, &["rollingUpdate"]) {
                tree::set_default(rolling, "partition", 0);
            }
        }
    }
    tree::set_default(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    if let Some(policy) = tree::at_mut(spec, &["persistentVolumeClaimRetentionPolicy"]) {
        tree::set_default_text(policy, "whenDeleted", "Retain");
        tree::set_default_text(policy, "whenScaled", "Retain");
    }
    for claim in tree::list_mut(spec, &["volumeClaimTemplates"]) {
        super::storage::claim(claim);
        // Templates show kind and version once stored, as typed claims do.
        tree::set_default_text(claim, "kind", "PersistentVolumeClaim");
        tree::set_default_text(claim, "apiVersion", "v1");
        tree::set_default(claim, "status", json!({"phase": "Pending"}));
    }
}

pub(super) fn daemon_set(object: &mut Value) {
    pod::template(object, &TEMPLATE);
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    tree::set_default(spec, "revisionHistoryLimit", 10);
    tree::set_default(spec, "updateStrategy", json!({}));
    if let Some(strategy) = tree::at_mut(spec, &["updateStrategy"]) {
        tree::set_default_text(strategy, "type", "RollingUpdate");
        if tree::text(strategy, &["type"]) == "RollingUpdate" {
            tree::set_default(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = tree::at_mut(strategy, &["rollingUpdate"]) {
                tree::set_default(rolling, "maxUnavailable", 1);
                tree::set_default(rolling, "maxSurge", 0);
            }
        }
    }
}

/// Both versions; metrics are only in v2 (v1 has `targetCPUUtilizationPercentage`, filled by conversion).
pub(super) fn autoscaler(object: &mut Value) {
    let v1 = tree::text(object, &["apiVersion"]) == "autoscaling/v1";
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    tree::set_default(spec, "minReplicas", 1);
    if v1 {
        return;
    }
    if tree::list(spec, &["metrics"]).is_empty() {
        tree::set(
            spec,
            &["metrics"],
            json!([{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}]),
        );
    }
    let Some(behavior) = tree::at_mut(spec, &["behavior"]) else {
        return;
    };
    let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]);
    let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
    for (direction, policies) in [("scaleUp", up), ("scaleDown", down)] {
        tree::set_default(behavior, direction, json!({}));
        let Some(rules) = tree::at_mut(behavior, &[direction]) else {
            continue;
        };
        tree::set_default_text(rules, "selectPolicy", "Max");
        if direction == "scaleUp" {
            tree::set_default(rules, "stabilizationWindowSeconds", 0);
        }
        if tree::list(rules, &["policies"]).is_empty() {
            tree::set(rules, &["policies"], policies);
        }
    }
}
