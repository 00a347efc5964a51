//! The plan for one Job.
//! Source: `pkg/controller/job/job_controller.go` `syncJob`, `manageJob`, `trackJobStatusAndRemoveFinalizers` (1.36).
//!
//! Invariants:
//! - An outcome is counted exactly once: it's noted by uid in the status before the pod's finalizer goes, and moves
//!   from the note to the count only after the finalizer is gone.
//! - `Complete` and `Failed` are written only when no pod runs any more and nothing is left to count.

use super::ending::{self, Ending};
use super::tally::Tally;
use super::{TRACKING, creation};
use crate::action::{Action, Plan};
use crate::adoption;
use crate::object::{MetaView, controller_reference};
use crate::pod_state;
use crate::selector;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use std::sync::Arc;

pub struct Observed {
    pub job: Arc<Job>,
    /// All pods of the namespace.
    pub pods: Vec<Arc<Pod>>,
    pub now: Timestamp,
}

pub fn plan(observed: &Observed) -> Plan {
    let job = observed.job.as_ref();
    let Some(spec) = &job.spec else {
        return Plan::nothing();
    };
    let managed_elsewhere = spec
        .managed_by
        .as_deref()
        .is_some_and(|by| by != "kubernetes.io/job-controller");
    let Some(wanted) = spec
        .selector
        .as_ref()
        .filter(|wanted| !selector::is_empty(wanted) && !managed_elsewhere)
    else {
        return Plan::nothing();
    };
    let reference = controller_reference::<Job>(&job.metadata);
    let claimed = adoption::claim(job, &reference, observed.pods.iter().cloned(), |meta| {
        selector::selects(wanted, meta.labels.as_ref())
    });
    if !claimed.actions.is_empty() {
        return claimed.actions.into();
    }
    let before = job.status.clone().unwrap_or_default();
    if ending::is_finished(&before) {
        // Whatever still holds a finalizer was not counted in time; nothing depends on it any more.
        return orphans(claimed.owned.into_iter());
    }
    let mut status = before.clone();
    let tally = Tally::take(spec, &claimed.owned, &mut status);
    let mut plan = Plan::nothing();
    let suspended = spec.suspend.unwrap_or(false);
    if status.start_time.is_none() && !suspended {
        status.start_time = Some(Time(observed.now));
    }
    let ending = ending::decide(observed, spec, &status, &tally);
    let pods = if job.metadata.is_terminating() {
        Vec::new()
    } else if ending.is_some() || suspended {
        stop(&tally.active)
    } else {
        creation::balance(&mut plan, observed, spec, &tally)
    };
    describe(observed, spec, &mut status, &tally, ending);
    if let Some(wait) = ending::until_deadline(spec, &status, observed.now) {
        plan.look_again(wait);
    }
    if normal(&status) != normal(&before) {
        let mut updated = job.clone();
        updated.status = Some(status);
        plan.push(Action::update_status(&updated));
    }
    // After the status: a finalizer goes only once its pod is noted there.
    let counted: Vec<Action> = tally.to_release.iter().map(release).collect();
    if !counted.is_empty() {
        plan.push(Action::Batch(counted));
    }
    plan.actions.extend(pods);
    plan
}

/// Frees pods whose Job is gone or finished.
pub fn orphans(pods: impl Iterator<Item = Arc<Pod>>) -> Plan {
    let held = pods.filter(|pod| pod.metadata.has_finalizer(TRACKING));
    let freed: Vec<Action> = held.map(|pod| release(&pod)).collect();
    if freed.is_empty() {
        Plan::nothing()
    } else {
        vec![Action::Batch(freed)].into()
    }
}

/// Takes the finalizer off a pod.
fn release(pod: &Arc<Pod>) -> Action {
    let mut finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != TRACKING);
    let finalizers = if finalizers.is_empty() {
        json!(null)
    } else {
        json!(finalizers)
    };
    Action::patch_seen(pod.as_ref(), json!({"metadata": {"finalizers": finalizers}}))
}

/// Deletes running pods without counting them: their finalizers go first.
pub fn stop(pods: &[Arc<Pod>]) -> Vec<Action> {
    let held = pods.iter().filter(|pod| pod.metadata.has_finalizer(TRACKING));
    let freed: Vec<Action> = held.map(release).collect();
    let deleted: Vec<Action> = pods.iter().map(|pod| Action::delete(pod.as_ref())).collect();
    [freed, deleted]
        .into_iter()
        .filter(|batch| !batch.is_empty())
        .map(Action::Batch)
        .collect()
}

fn describe(
    observed: &Observed,
    spec: &JobSpec,
    status: &mut JobStatus,
    tally: &Tally,
    ending: Option<Ending>,
) {
    let count = |n: usize| Some(i32::try_from(n).unwrap_or(i32::MAX));
    let ready = tally.active.iter().filter(|pod| pod_state::is_ready(pod)).count();
    status.active = count(tally.active.len()).filter(|&n| n > 0);
    status.ready = count(ready);
    status.terminating = count(tally.terminating);
    ending::suspension(spec, status, observed.now);
    if let Some(ending) = ending {
        ending::write(ending, status, tally, observed.now);
    }
}

/// Absent and zero are the same number.
fn normal(status: &JobStatus) -> JobStatus {
    let zero = |n: Option<i32>| Some(n.unwrap_or(0));
    JobStatus {
        active: zero(status.active),
        succeeded: zero(status.succeeded),
        failed: zero(status.failed),
        ready: zero(status.ready),
        terminating: zero(status.terminating),
        completed_indexes: Some(status.completed_indexes.clone().unwrap_or_default()),
        conditions: Some(status.conditions.clone().unwrap_or_default()),
        uncounted_terminated_pods: Some(
            status
                .uncounted_terminated_pods
                .clone()
                .map(|mut uncounted| {
                    uncounted.failed.get_or_insert_default();
                    uncounted.succeeded.get_or_insert_default();
                    uncounted
                })
                .unwrap_or_else(|| k8s_openapi::api::batch::v1::UncountedTerminatedPods {
                    failed: Some(Vec::new()),
                    succeeded: Some(Vec::new()),
                }),
        ),
        ..status.clone()
    }
}
