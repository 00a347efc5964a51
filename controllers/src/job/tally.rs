//! Counting outcomes exactly once.
//! Source: `trackJobStatusAndRemoveFinalizers`, `getNewFinishedPods`, `isPodFailed` (1.36).

use super::TRACKING;
use super::failure_policy::{Verdict, judge};
use super::indexes::{Indexes, index_of};
use crate::object::MetaView;
use crate::pod_state;
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the pods of a Job amount to.
pub struct Tally {
    pub active: Vec<Arc<Pod>>,
    /// Being deleted, not ended.
    pub terminating: usize,
    /// All that ended by themselves, counted or not.
    pub failed_pods: Vec<Arc<Pod>>,
    pub succeeded_pods: Vec<Arc<Pod>>,
    /// Outcomes, including those noted but not counted yet.
    pub succeeded: i32,
    pub failed: i32,
    /// Completed indexes of an Indexed Job.
    pub completed: Indexes,
    /// Indexes that may not be tried again.
    pub failed_indexes: Option<Indexes>,
    /// Ended pods that are noted (by the status this plan writes) and may lose their finalizer.
    pub to_release: Vec<Arc<Pod>>,
    /// Whether nothing waits to be counted.
    pub settled: bool,
    /// The message of a rule that fails the whole Job.
    pub fail_job: Option<String>,
}

impl Tally {
    /// Notes and counts in `status`.
    pub fn take(spec: &JobSpec, owned: &[Arc<Pod>], status: &mut JobStatus) -> Self {
        let indexed = spec.completion_mode.as_deref() == Some("Indexed");
        let only_failed = replaces_only_failed(spec);
        let mut uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
        let mut succeeded: BTreeSet<String> = uncounted
            .succeeded
            .take()
            .unwrap_or_default()
            .into_iter()
            .collect();
        let mut failed: BTreeSet<String> = uncounted.failed.take().unwrap_or_default().into_iter().collect();
        let held: BTreeSet<&str> = owned
            .iter()
            .filter(|pod| pod.metadata.has_finalizer(TRACKING))
            .map(|pod| pod.metadata.uid())
            .collect();
        // Noted earlier and freed since: now it counts.
        let settle = |noted: &mut BTreeSet<String>, count: &mut Option<i32>| {
            let freed: Vec<String> = noted
                .iter()
                .filter(|uid| !held.contains(uid.as_str()))
                .cloned()
                .collect();
            freed.iter().for_each(|uid| {
                noted.remove(uid);
            });
            let freed = i32::try_from(freed.len()).unwrap_or(i32::MAX);
            *count = Some(count.unwrap_or(0).saturating_add(freed)).filter(|&n| n > 0);
        };
        settle(&mut succeeded, &mut status.succeeded);
        settle(&mut failed, &mut status.failed);

        let completions = spec.completions.unwrap_or(0);
        let mut completed = Indexes::parse(
            status.completed_indexes.as_deref().unwrap_or_default(),
            completions,
        );
        let mut tally = Self {
            active: Vec::new(),
            terminating: 0,
            failed_pods: Vec::new(),
            succeeded_pods: Vec::new(),
            succeeded: 0,
            failed: 0,
            completed: Indexes::default(),
            failed_indexes: None,
            to_release: Vec::new(),
            settled: false,
            fail_job: None,
        };
        for pod in owned {
            let is_held = pod.metadata.has_finalizer(TRACKING);
            let leaving = pod.metadata.is_terminating();
            let uid = pod.metadata.uid().to_owned();
            match pod_state::phase(pod) {
                "Succeeded" => {
                    tally.succeeded_pods.push(Arc::clone(pod));
                    if is_held {
                        tally.to_release.push(Arc::clone(pod));
                        if !indexed {
                            succeeded.insert(uid);
                        } else if let Some(index) = index_of(pod).filter(|&index| index < completions) {
                            completed.insert(index);
                        }
                    }
                }
                phase if phase == "Failed" || (leaving && !only_failed) => {
                    if leaving && phase != "Failed" {
                        tally.terminating += 1;
                    } else {
                        tally.failed_pods.push(Arc::clone(pod));
                    }
                    if is_held {
                        tally.to_release.push(Arc::clone(pod));
                        match judge(spec, pod) {
                            Verdict::Ignore => {}
                            Verdict::FailJob(message) => {
                                tally.fail_job.get_or_insert(message);
                                failed.insert(uid);
                            }
                            Verdict::Count | Verdict::FailIndex => {
                                failed.insert(uid);
                            }
                        }
                    }
                }
                _ if leaving => tally.terminating += 1,
                _ => tally.active.push(Arc::clone(pod)),
            }
        }
        if indexed {
            status.completed_indexes = Some(completed.to_string()).filter(|text| !text.is_empty());
            status.succeeded = Some(completed.len()).filter(|&n| n > 0);
        }
        let noted = |set: &BTreeSet<String>| i32::try_from(set.len()).unwrap_or(i32::MAX);
        tally.succeeded = status.succeeded.unwrap_or(0).saturating_add(noted(&succeeded));
        tally.failed = status.failed.unwrap_or(0).saturating_add(noted(&failed));
        tally.settled = succeeded.is_empty() && failed.is_empty() && tally.to_release.is_empty();
        tally.completed = completed;
        tally.failed_indexes = failed_indexes(spec, &tally, status);
        let list =
            |set: BTreeSet<String>| Some(set.into_iter().collect::<Vec<_>>()).filter(|all| !all.is_empty());
        uncounted.succeeded = list(succeeded);
        uncounted.failed = list(failed);
        status.uncounted_terminated_pods = Some(uncounted);
        tally
    }
}

pub fn replaces_only_failed(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// Indexes that failed more often than allowed each. Source: `backoff_utils.go`, `indexed_job_utils.go` (1.36).
fn failed_indexes(spec: &JobSpec, tally: &Tally, status: &mut JobStatus) -> Option<Indexes> {
    let limit = spec.backoff_limit_per_index?;
    let completions = spec.completions.unwrap_or(0);
    let mut failed = Indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), completions);
    for pod in &tally.failed_pods {
        let Some(index) = index_of(pod).filter(|&index| index < completions) else {
            continue;
        };
        let verdict = judge(spec, pod);
        let failures = super::creation::failures_of(pod) + i32::from(verdict != Verdict::Ignore);
        if (verdict == Verdict::FailIndex || failures > limit) && !tally.completed.contains(index) {
            failed.insert(index);
        }
    }
    status.failed_indexes = Some(failed.to_string());
    Some(failed)
}
