use super::{Observed, plan, ttl};
use crate::action::{Action, Plan};
use crate::testing::{ago, merged, now, object, owned_by, pod, story};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn job(over: Value) -> Arc<Job> {
    object(merged(
        json!({"metadata": {"name": "sum", "namespace": "default", "uid": "uid-sum", "resourceVersion": "3"},
            "spec": {"completions": 3, "parallelism": 2, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}},
            "status": {"startTime": ago(30), "ready": 0, "terminating": 0}}),
        over,
    ))
}

fn worker(name: &str, phase: &str, over: Value) -> Arc<Pod> {
    let base =
        json!({"metadata": {"finalizers": ["batch.kubernetes.io/job-tracking"]}, "status": {"phase": phase}});
    pod(name, Some(owned_by("batch/v1", "Job", "sum")), merged(base, over))
}

fn look(job: &Arc<Job>, pods: &[Arc<Pod>]) -> Plan {
    plan(&Observed {
        job: Arc::clone(job),
        pods: pods.to_vec(),
        now: now(),
    })
}

fn status(plan: &Plan) -> Value {
    let status = plan.actions.iter().find_map(|action| match action {
        Action::UpdateStatus(body) => Some(body.value["status"].clone()),
        _ => None,
    });
    status.expect("a status write")
}

/// The Job with the status that the plan wrote.
fn after(plan: &Plan) -> Arc<Job> {
    job(json!({"status": status(plan)}))
}

fn conditions(status: &Value) -> Vec<String> {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    let told = |c: &Value| {
        format!(
            "{} {}",
            c["type"].as_str().unwrap(),
            c["reason"].as_str().unwrap()
        )
    };
    all.iter().map(told).collect()
}

#[test]
fn a_success_is_noted_then_freed_then_counted() {
    let done = worker("a", "Succeeded", json!({}));
    let noted = look(&job(json!({})), &[Arc::clone(&done)]);
    assert_eq!(
        story(&noted),
        [
            "status Job default/sum",
            "patch Pod default/a",
            "create Pod default/sum-*; create Pod default/sum-*"
        ]
    );
    assert_eq!(
        status(&noted)["uncountedTerminatedPods"],
        json!({"succeeded": ["uid-a"]})
    );
    assert_eq!(status(&noted)["succeeded"], Value::Null);
    let freed = worker("a", "Succeeded", json!({"metadata": {"finalizers": null}}));
    let counted = look(
        &after(&noted),
        &[
            freed,
            worker("b", "Running", json!({})),
            worker("c", "Running", json!({})),
        ],
    );
    assert_eq!(status(&counted)["uncountedTerminatedPods"], json!({}));
    assert_eq!(
        (&status(&counted)["succeeded"], &status(&counted)["active"]),
        (&json!(1), &json!(2))
    );
}

#[test]
fn the_last_success_meets_the_criteria_and_completes_once_everything_is_counted() {
    let nearly = job(json!({"status": {"succeeded": 2}}));
    let met = look(&nearly, &[worker("c", "Succeeded", json!({}))]);
    assert_eq!(
        conditions(&status(&met)),
        ["SuccessCriteriaMet CompletionsReached"]
    );
    let rest = look(
        &after(&met),
        &[worker(
            "c",
            "Succeeded",
            json!({"metadata": {"finalizers": null}}),
        )],
    );
    assert_eq!(
        conditions(&status(&rest)),
        [
            "SuccessCriteriaMet CompletionsReached",
            "Complete CompletionsReached"
        ]
    );
    assert_eq!(
        (
            &status(&rest)["succeeded"],
            status(&rest)["completionTime"].is_string()
        ),
        (&json!(3), true)
    );
    assert!(
        look(&after(&rest), &[]).actions.is_empty(),
        "a finished job rests"
    );
}

#[test]
fn failures_are_retried_with_a_growing_delay_until_the_limit() {
    let failed = |name: &str, seconds: i64| {
        worker(
            name,
            "Failed",
            json!({"metadata": {"finalizers": null}, "status": {"containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 1, "finishedAt": ago(seconds)}}}]}}),
        )
    };
    let one = look(&job(json!({"status": {"failed": 1}})), &[failed("a", 4)]);
    assert_eq!(one.again_after, Some(Duration::from_secs(6)));
    let two = look(
        &job(json!({"status": {"failed": 2}})),
        &[failed("a", 30), failed("b", 4)],
    );
    assert_eq!(two.again_after, Some(Duration::from_secs(16)));
    let over = job(json!({"spec": {"backoffLimit": 1}, "status": {"failed": 2}}));
    let running = worker("c", "Running", json!({}));
    let stopped = look(&over, &[failed("a", 30), failed("b", 4), running]);
    assert_eq!(
        story(&stopped),
        [
            "status Job default/sum",
            "patch Pod default/c",
            "delete Pod default/c"
        ]
    );
    assert_eq!(
        conditions(&status(&stopped)),
        ["FailureTarget BackoffLimitExceeded"]
    );
    let ended = look(
        &job(json!({"spec": {"backoffLimit": 1}, "status": status(&stopped)})),
        &[],
    );
    assert_eq!(
        conditions(&status(&ended)),
        [
            "FailureTarget BackoffLimitExceeded",
            "Failed BackoffLimitExceeded"
        ]
    );
}

#[test]
fn an_indexed_job_starts_the_lowest_free_indexes_and_remembers_the_completed() {
    let indexed = json!({"spec": {"completionMode": "Indexed", "completions": 4}, "status": {"completedIndexes": "1", "succeeded": 1}});
    let at = |name: &str, phase: &str, index: i32| {
        worker(
            name,
            phase,
            json!({"metadata": {"annotations": {"batch.kubernetes.io/job-completion-index": index.to_string()}}}),
        )
    };
    let plan = look(&job(indexed), &[at("a", "Succeeded", 0), at("b", "Running", 2)]);
    assert_eq!(status(&plan)["completedIndexes"], "0,1");
    let Some(Action::Batch(created)) = plan.actions.last() else {
        panic!("a batch")
    };
    let Action::Create(body) = &created[0] else {
        panic!("a creation")
    };
    assert_eq!(created.len(), 1);
    assert_eq!(body.value["metadata"]["generateName"], "sum-3-");
    assert_eq!(body.value["spec"]["hostname"], "sum-3");
    assert_eq!(
        body.value["spec"]["containers"][0]["env"][0]["name"],
        "JOB_COMPLETION_INDEX"
    );
}

#[test]
fn suspending_stops_the_pods_and_resuming_starts_the_clock_anew() {
    let suspended = look(
        &job(json!({"spec": {"suspend": true}})),
        &[worker("a", "Running", json!({}))],
    );
    assert_eq!(
        story(&suspended),
        [
            "status Job default/sum",
            "patch Pod default/a",
            "delete Pod default/a"
        ]
    );
    assert_eq!(conditions(&status(&suspended)), ["Suspended JobSuspended"]);
    assert_eq!(status(&suspended)["startTime"], Value::Null);
    let resumed = look(
        &job(json!({"status": merged(status(&suspended), json!({"startTime": null}))})),
        &[],
    );
    assert_eq!(conditions(&status(&resumed)), ["Suspended JobResumed"]);
    assert_eq!(status(&resumed)["startTime"], json!(now().to_string()));
}

#[test]
fn an_overdue_job_fails_and_a_policy_decides_by_exit_codes() {
    let overdue = look(&job(json!({"spec": {"activeDeadlineSeconds": 30}})), &[]);
    assert_eq!(
        conditions(&status(&overdue)),
        ["FailureTarget DeadlineExceeded", "Failed DeadlineExceeded"]
    );
    let policy = json!({"spec": {"podFailurePolicy": {"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}}});
    let fatal = worker(
        "a",
        "Failed",
        json!({"status": {"containerStatuses": [
        {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 42}}}]}}),
    );
    assert_eq!(
        conditions(&status(&look(&job(policy), &[fatal]))),
        ["FailureTarget PodFailurePolicy"]
    );
}

#[test]
fn a_finished_job_is_deleted_after_its_time_to_live() {
    let finished = |seconds: i64| {
        job(
            json!({"spec": {"ttlSecondsAfterFinished": 20}, "status": {"conditions": [
            {"type": "Complete", "status": "True", "lastTransitionTime": ago(seconds)}]}}),
        )
    };
    assert_eq!(
        ttl::plan(&finished(5), now()).again_after,
        Some(Duration::from_secs(15))
    );
    assert_eq!(
        story(&ttl::plan(&finished(20), now())),
        ["delete Job default/sum"]
    );
}
