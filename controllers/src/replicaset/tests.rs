use super::{Observed, plan, replication_controller};
use crate::action::Action;
use crate::testing::{ago, merged, now, object, owned_by, pod, story};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn set(replicas: i32, over: Value) -> Arc<ReplicaSet> {
    object(merged(
        json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "uid-web", "resourceVersion": "5", "generation": 1},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}},
        }),
        over,
    ))
}

fn settled(count: i32) -> Value {
    json!({"status": {"replicas": count, "fullyLabeledReplicas": count, "readyReplicas": count,
        "availableReplicas": count, "observedGeneration": 1}})
}

fn mine(name: &str, over: Value) -> Arc<Pod> {
    pod(name, Some(owned_by("apps/v1", "ReplicaSet", "web")), over)
}

fn observed(set: Arc<ReplicaSet>, pods: Vec<Arc<Pod>>) -> Observed {
    Observed {
        sets: vec![Arc::clone(&set)],
        set,
        pods,
        failed: None,
        now: now(),
    }
}

#[test]
fn missing_pods_are_created_in_one_batch_from_the_template() {
    let plan = plan(&observed(set(3, settled(1)), vec![mine("a", json!({}))]));
    assert_eq!(
        story(&plan),
        ["create Pod default/web-*; create Pod default/web-*"]
    );
    let Action::Batch(creations) = &plan.actions[0] else {
        panic!("a batch")
    };
    let Action::Create(body) = &creations[0] else {
        panic!("a creation")
    };
    assert_eq!(
        body.value,
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"generateName": "web-", "namespace": "default", "labels": {"app": "web"},
                "ownerReferences": [owned_by("apps/v1", "ReplicaSet", "web")]},
            "spec": {"containers": [{"name": "c"}]}})
    );
}

#[test]
fn the_status_tells_what_was_observed_before_pods_are_touched() {
    let plan = plan(&observed(set(2, json!({})), vec![mine("a", json!({}))]));
    assert_eq!(
        story(&plan),
        ["status ReplicaSet default/web", "create Pod default/web-*"]
    );
    let Action::UpdateStatus(body) = &plan.actions[0] else {
        panic!("a status")
    };
    assert_eq!(
        body.value["status"],
        json!({"replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "terminatingReplicas": 0, "observedGeneration": 1})
    );
}

#[test]
fn surplus_pods_go_in_the_order_of_upstream() {
    let pods = vec![
        mine("ready-long", json!({})),
        mine(
            "expensive",
            json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "9"}}}),
        ),
        mine("unready", json!({"status": {"conditions": []}})),
        mine(
            "pending",
            json!({"status": {"phase": "Pending", "conditions": []}}),
        ),
        mine(
            "unassigned",
            json!({"spec": {"nodeName": null}, "status": {"phase": "Pending", "conditions": []}}),
        ),
        mine(
            "ready-short",
            json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ago(1)}]}}),
        ),
    ];
    for (keep, gone) in [
        (5, "delete Pod default/unassigned"),
        (
            3,
            "delete Pod default/unassigned; delete Pod default/pending; delete Pod default/unready",
        ),
        (
            2,
            "delete Pod default/unassigned; delete Pod default/pending; delete Pod default/unready; delete Pod default/ready-short",
        ),
    ] {
        let plan = plan(&observed(set(keep, json!({})), pods.clone()));
        assert_eq!(story(&plan)[1], gone, "keeping {keep}");
    }
}

#[test]
fn finished_and_terminating_pods_do_not_count() {
    let pods = vec![
        mine("done", json!({"status": {"phase": "Failed"}})),
        mine("leaving", json!({"metadata": {"deletionTimestamp": ago(1)}})),
    ];
    assert_eq!(
        story(&plan(&observed(set(1, settled(0)), pods))),
        ["create Pod default/web-*"]
    );
}

#[test]
fn a_matching_orphan_is_adopted_after_a_live_check_and_a_stranger_released() {
    let orphan = pod("orphan", None, json!({}));
    let stranger = mine("stranger", json!({"metadata": {"labels": {"app": "db"}}}));
    let other = pod(
        "other",
        Some(owned_by("apps/v1", "ReplicaSet", "else")),
        json!({}),
    );
    let plan = plan(&observed(set(2, json!({})), vec![orphan, other, stranger]));
    assert_eq!(
        story(&plan),
        [
            "patch Pod default/stranger",
            "verify ReplicaSet default/web",
            "patch Pod default/orphan"
        ]
    );
    let Action::Patch { patch, .. } = &plan.actions[0] else {
        panic!("a patch")
    };
    assert_eq!(
        *patch,
        json!({"metadata": {"ownerReferences": null, "uid": "uid-stranger", "resourceVersion": "7"}})
    );
}

#[test]
fn a_terminating_set_neither_creates_nor_adopts() {
    let leaving = set(
        3,
        json!({"metadata": {"deletionTimestamp": ago(1)}, "status": {"replicas": 0, "observedGeneration": 1}}),
    );
    assert_eq!(
        story(&plan(&observed(leaving, vec![pod("orphan", None, json!({}))]))),
        Vec::<String>::new()
    );
}

#[test]
fn a_pod_counts_as_available_only_after_min_ready_seconds_and_is_looked_at_then() {
    let patient = set(1, json!({"spec": {"minReadySeconds": 90}}));
    let plan = plan(&observed(patient, vec![mine("a", json!({}))]));
    let Action::UpdateStatus(body) = &plan.actions[0] else {
        panic!("a status")
    };
    assert_eq!(body.value["status"]["readyReplicas"], 1);
    assert_eq!(body.value["status"]["availableReplicas"], Value::Null);
    assert_eq!(plan.again_after, Some(Duration::from_secs(30)));
}

#[test]
fn a_failure_becomes_a_condition_and_leaves_with_its_cause() {
    let mut failing = observed(set(2, settled(1)), vec![mine("a", json!({}))]);
    failing.failed = Some("quota exceeded".into());
    let told = plan(&failing);
    let Action::UpdateStatus(body) = &told.actions[0] else {
        panic!("a status")
    };
    let condition = &body.value["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["reason"]),
        (&json!("ReplicaFailure"), &json!("FailedCreate"))
    );
    let told_set: ReplicaSet = serde_json::from_value(body.value.clone()).unwrap();
    let healed = plan(&observed(
        Arc::new(told_set),
        vec![mine("a", json!({})), mine("b", json!({}))],
    ));
    let Action::UpdateStatus(body) = &healed.actions[0] else {
        panic!("a status")
    };
    assert_eq!(body.value["status"]["conditions"], Value::Null);
}

#[test]
fn a_replication_controller_tells_the_same_but_for_pods_that_are_terminating() {
    let controller = |status: Value| {
        object(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "uid-web", "resourceVersion": "5", "generation": 1},
            "spec": {"replicas": 2, "selector": {"app": "web"},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}},
            "status": status,
        }))
    };
    let observed = |status: Value| replication_controller::Observed {
        controller: controller(status),
        pods: vec![pod(
            "a",
            Some(owned_by("v1", "ReplicationController", "web")),
            json!({}),
        )],
        failed: Some("quota exceeded".into()),
        now: now(),
    };
    let told = replication_controller::plan(&observed(json!({"replicas": 0})));
    assert_eq!(
        story(&told),
        [
            "status ReplicationController default/web",
            "create Pod default/web-*"
        ]
    );
    let Action::UpdateStatus(body) = &told.actions[0] else {
        panic!("a status")
    };
    let status = &body.value["status"];
    assert_eq!(
        *status,
        json!({"replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "observedGeneration": 1, "conditions": [{"type": "ReplicaFailure", "status": "True",
                "reason": "FailedCreate", "message": "quota exceeded", "lastTransitionTime": now()}]})
    );
    let again = replication_controller::plan(&observed(status.clone()));
    assert_eq!(story(&again), ["create Pod default/web-*"]);
}
