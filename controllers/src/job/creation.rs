//! The right number of running pods. Source: `manageJob`, `backoff_utils.go`, `addCompletionIndexEnvVariables` (1.36).

use super::TRACKING;
use super::failure_policy::{Verdict, judge};
use super::indexes::{INDEX, index_of};
use super::plan::{Observed, stop};
use super::tally::{Tally, replaces_only_failed};
use crate::action::{Action, Plan};
use crate::object::{MetaView, controller_reference};
use crate::pod_state;
use crate::pod_template::pod_from_template;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Pods started in one plan. Source: `MaxPodCreateDeletePerSync`.
const BURST: usize = 500;
const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const BACKOFF: SignedDuration = SignedDuration::from_secs(10);
const BACKOFF_MAX: SignedDuration = SignedDuration::from_mins(10);

/// Failures of the pod's index before this pod.
pub fn failures_of(pod: &Pod) -> i32 {
    pod.metadata
        .annotation(INDEX_FAILURES)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

pub fn balance(plan: &mut Plan, observed: &Observed, spec: &JobSpec, tally: &Tally) -> Vec<Action> {
    let job = observed.job.as_ref();
    let parallelism = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(0);
    let wanted = match spec.completions {
        None if tally.succeeded > 0 => tally.active.len().min(parallelism),
        None => parallelism,
        Some(completions) => {
            let failed = tally
                .failed_indexes
                .as_ref()
                .map_or(0, super::indexes::Indexes::len);
            let left = usize::try_from(completions - tally.succeeded - failed).unwrap_or(0);
            left.min(parallelism)
        }
    };
    if tally.active.len() > wanted {
        return stop(&surplus(&tally.active, tally.active.len() - wanted, observed.now));
    }
    let mut missing = (wanted - tally.active.len()).min(BURST);
    if replaces_only_failed(spec) {
        missing = missing.saturating_sub(tally.terminating);
    }
    if missing == 0 {
        return Vec::new();
    }
    if let Some(wait) = backoff(spec, tally, observed.now) {
        plan.look_again(wait);
        return Vec::new();
    }
    let pods: Vec<Action> = if spec.completion_mode.as_deref() == Some("Indexed") {
        free_indexes(spec, tally)
            .take(missing)
            .map(|index| Action::create(&indexed_pod(job, spec, tally, index)))
            .collect()
    } else {
        vec![Action::create(&pod(job, spec)); missing]
    };
    if pods.is_empty() {
        Vec::new()
    } else {
        vec![Action::Batch(pods)]
    }
}

/// Which running pods are too many: those not ready, then the youngest.
fn surplus(active: &[Arc<Pod>], count: usize, _now: Timestamp) -> Vec<Arc<Pod>> {
    let mut ranked = active.to_vec();
    ranked.sort_by_key(|pod| {
        let assigned = !pod_state::node(pod).is_empty();
        let age = std::cmp::Reverse(pod.metadata.created_at());
        (
            assigned,
            pod_state::is_ready(pod),
            age,
            pod.metadata.name().to_owned(),
        )
    });
    ranked.truncate(count);
    ranked
}

/// How long to wait after failures in a row before the next try.
fn backoff(spec: &JobSpec, tally: &Tally, now: Timestamp) -> Option<Duration> {
    let last_success = tally.succeeded_pods.iter().filter_map(|pod| ended_at(pod)).max();
    let failures: Vec<Timestamp> = tally
        .failed_pods
        .iter()
        .filter(|pod| judge(spec, pod) != Verdict::Ignore)
        .filter_map(|pod| ended_at(pod))
        .filter(|at| last_success.is_none_or(|success| *at > success))
        .collect();
    let last = failures.iter().max()?;
    let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(6);
    let delay = (BACKOFF * 2_i32.pow(doublings)).min(BACKOFF_MAX);
    Duration::try_from(delay - now.duration_since(*last))
        .ok()
        .filter(|wait| !wait.is_zero())
}

fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let containers = pod.status.as_ref()?.container_statuses.iter().flatten();
    let ends = containers.filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        ended.finished_at.as_ref().map(|time| time.0)
    });
    ends.max().or_else(|| {
        let ready = pod_state::condition(pod, "Ready")?;
        ready.last_transition_time.as_ref().map(|time| time.0)
    })
}

/// Indexes that are neither done nor in work, from the lowest.
fn free_indexes(spec: &JobSpec, tally: &Tally) -> impl Iterator<Item = i32> {
    let busy: BTreeSet<i32> = tally.active.iter().filter_map(|pod| index_of(pod)).collect();
    let completions = spec.completions.unwrap_or(0);
    let (completed, failed) = (tally.completed.clone(), tally.failed_indexes.clone());
    (0..completions).filter(move |index| {
        !busy.contains(index)
            && !completed.contains(*index)
            && !failed.as_ref().is_some_and(|failed| failed.contains(*index))
    })
}

fn pod(job: &Job, spec: &JobSpec) -> Pod {
    let mut pod = pod_from_template(
        &spec.template,
        &job.metadata,
        controller_reference::<Job>(&job.metadata),
    );
    pod.metadata
        .finalizers
        .get_or_insert_default()
        .push(TRACKING.to_owned());
    let labels = pod.metadata.labels.get_or_insert_default();
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", job.metadata.uid()),
        ("batch.kubernetes.io/job-name", job.metadata.name()),
        ("controller-uid", job.metadata.uid()),
        ("job-name", job.metadata.name()),
    ] {
        labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    pod
}

fn indexed_pod(job: &Job, spec: &JobSpec, tally: &Tally, index: i32) -> Pod {
    let mut pod = pod(job, spec);
    let text = index.to_string();
    pod.metadata.generate_name = Some(format!("{}-{index}-", job.metadata.name()));
    pod.metadata
        .labels
        .get_or_insert_default()
        .insert(INDEX.to_owned(), text.clone());
    let annotations: &mut BTreeMap<String, String> = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), text);
    if spec.backoff_limit_per_index.is_some() {
        let before = tally
            .failed_pods
            .iter()
            .filter(|pod| index_of(pod) == Some(index));
        let failures = before
            .map(|pod| failures_of(pod) + i32::from(judge(spec, pod) != Verdict::Ignore))
            .max()
            .unwrap_or(0);
        annotations.insert(INDEX_FAILURES.to_owned(), failures.to_string());
    }
    if let Some(pod_spec) = &mut pod.spec {
        pod_spec.hostname = Some(format!("{}-{index}", job.metadata.name()));
        let containers = pod_spec
            .containers
            .iter_mut()
            .chain(pod_spec.init_containers.iter_mut().flatten());
        for container in containers {
            let env = container.env.get_or_insert_default();
            if !env.iter().any(|variable| variable.name == "JOB_COMPLETION_INDEX") {
                env.push(index_variable());
            }
        }
    }
    pod
}

fn index_variable() -> EnvVar {
    EnvVar {
        name: "JOB_COMPLETION_INDEX".into(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: format!("metadata.labels['{INDEX}']"),
            }),
            ..EnvVarSource::default()
        }),
    }
}
