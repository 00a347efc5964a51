//! When a Job is over, and what its conditions say.
//! Source: `syncJob`, `enactJobFinished`, `success_policy.go` (1.36).

use super::indexes::Indexes;
use super::plan::Observed;
use super::tally::Tally;
use crate::pod_state;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

/// A decided outcome. It stands first as `FailureTarget` or `SuccessCriteriaMet`, and as `Failed` or `Complete` when
/// everything is at rest.
pub struct Ending {
    pub success: bool,
    pub reason: String,
    pub message: String,
}

impl Ending {
    fn new(success: bool, reason: &str, message: impl Into<String>) -> Self {
        Self {
            success,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

pub fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let conditions = status.conditions.iter().flatten();
    conditions
        .into_iter()
        .find(|condition| condition.type_ == kind && condition.status == "True")
}

pub fn is_finished(status: &JobStatus) -> bool {
    condition(status, "Complete").is_some() || condition(status, "Failed").is_some()
}

/// How the Job ends, if it does. What was decided once stays decided.
pub fn decide(observed: &Observed, spec: &JobSpec, status: &JobStatus, tally: &Tally) -> Option<Ending> {
    for (kind, success) in [("FailureTarget", false), ("SuccessCriteriaMet", true)] {
        if let Some(decided) = condition(status, kind) {
            let reason = decided.reason.clone().unwrap_or_default();
            return Some(Ending::new(
                success,
                &reason,
                decided.message.clone().unwrap_or_default(),
            ));
        }
    }
    failure(observed, spec, status, tally).or_else(|| success(spec, tally))
}

fn failure(observed: &Observed, spec: &JobSpec, status: &JobStatus, tally: &Tally) -> Option<Ending> {
    if let Some(message) = &tally.fail_job {
        return Some(Ending::new(false, "PodFailurePolicy", message.clone()));
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    if tally.failed > limit || restarts_exceed(spec, tally, limit) {
        return Some(Ending::new(
            false,
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ));
    }
    if deadline(spec, status).is_some_and(|deadline| observed.now >= deadline)
        && !spec.suspend.unwrap_or(false)
    {
        let message = "Job was active longer than specified deadline";
        return Some(Ending::new(false, "DeadlineExceeded", message));
    }
    let failed = tally.failed_indexes.as_ref()?;
    if spec.max_failed_indexes.is_some_and(|max| failed.len() > max) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(Ending::new(false, "MaxFailedIndexesExceeded", message));
    }
    let all = spec
        .completions
        .is_some_and(|completions| failed.len() + tally.completed.len() >= completions);
    (failed.len() > 0 && all).then(|| Ending::new(false, "FailedIndexes", "Job has failed indexes"))
}

/// Pods that restart in place count by their restarts.
fn restarts_exceed(spec: &JobSpec, tally: &Tally, limit: i32) -> bool {
    let in_place = spec
        .template
        .spec
        .as_ref()
        .and_then(|pod| pod.restart_policy.as_deref())
        == Some("OnFailure");
    let restarts: i64 = tally.active.iter().map(|pod| pod_state::restarts(pod)).sum();
    in_place
        && if limit == 0 {
            restarts > 0
        } else {
            restarts >= i64::from(limit)
        }
}

fn success(spec: &JobSpec, tally: &Tally) -> Option<Ending> {
    let rules = spec.success_policy.as_ref().map(|policy| policy.rules.as_slice());
    let completions = spec.completions;
    for (at, rule) in rules.unwrap_or_default().iter().enumerate() {
        let wanted = rule
            .succeeded_indexes
            .as_ref()
            .map(|text| Indexes::parse(text, completions.unwrap_or(0)));
        let matching = wanted.as_ref().map_or(tally.completed.len(), |wanted| {
            tally.completed.common_with(wanted)
        });
        let needed = rule.succeeded_count.or(wanted.map(|wanted| wanted.len()));
        if needed.is_some_and(|needed| matching >= needed) {
            return Some(Ending::new(
                true,
                "SuccessPolicy",
                format!("Matched rules at index {at}"),
            ));
        }
    }
    let enough = match completions {
        Some(completions) => tally.succeeded >= completions,
        // A work queue is done when a pod succeeded and the others have ended.
        None => tally.succeeded > 0 && tally.active.is_empty() && tally.terminating == 0,
    };
    enough.then(|| {
        Ending::new(
            true,
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        )
    })
}

/// Writes the outcome as far as it may be told yet.
pub fn write(ending: Ending, status: &mut JobStatus, tally: &Tally, now: Timestamp) {
    let (early, last) = if ending.success {
        ("SuccessCriteriaMet", "Complete")
    } else {
        ("FailureTarget", "Failed")
    };
    set(status, early, "True", &ending, now);
    if tally.active.is_empty() && tally.terminating == 0 && tally.settled {
        set(status, last, "True", &ending, now);
        if ending.success {
            status.completion_time = Some(Time(now));
        }
    }
}

/// The `Suspended` condition, and the start time that goes with it.
pub fn suspension(spec: &JobSpec, status: &mut JobStatus, now: Timestamp) {
    let is = condition(status, "Suspended").is_some();
    let told = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Suspended");
    match spec.suspend.unwrap_or(false) {
        true if !is => {
            set(
                status,
                "Suspended",
                "True",
                &Ending::new(true, "JobSuspended", "Job suspended"),
                now,
            );
            status.start_time = None;
        }
        false if is && told => {
            set(
                status,
                "Suspended",
                "False",
                &Ending::new(true, "JobResumed", "Job resumed"),
                now,
            );
            // The deadline counts from here.
            status.start_time = Some(Time(now));
        }
        _ => {}
    }
}

fn set(status: &mut JobStatus, kind: &str, value: &str, ending: &Ending, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    if conditions
        .iter()
        .any(|condition| condition.type_ == kind && condition.status == value)
    {
        return;
    }
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(ending.reason.clone()),
        message: Some(ending.message.clone()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

fn deadline(spec: &JobSpec, status: &JobStatus) -> Option<Timestamp> {
    let seconds = spec.active_deadline_seconds?;
    let start = status.start_time.as_ref()?.0;
    start.saturating_add(SignedDuration::from_secs(seconds)).ok()
}

pub fn until_deadline(spec: &JobSpec, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    let left = deadline(spec, status)?.duration_since(now);
    Duration::try_from(left)
        .ok()
        .filter(|left| !left.is_zero() && !spec.suspend.unwrap_or(false))
}
