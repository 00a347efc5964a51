//! TTL after finished: deletes Jobs some time after they ended.
//! Source: `pkg/controller/ttlafterfinished/ttlafterfinished_controller.go` (1.36).

use super::ending::condition;
use crate::action::{Action, Plan, Propagation};
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use std::time::Duration;

pub fn plan(job: &Job, now: Timestamp) -> Plan {
    let seconds = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished);
    let ended = job.status.as_ref().and_then(|status| {
        let condition = condition(status, "Complete").or_else(|| condition(status, "Failed"))?;
        condition.last_transition_time.as_ref().map(|time| time.0)
    });
    let (Some(seconds), Some(ended)) = (seconds, ended) else {
        return Plan::nothing();
    };
    if job.metadata.is_terminating() {
        return Plan::nothing();
    }
    let left = SignedDuration::from_secs(seconds.into()) - now.duration_since(ended);
    match Duration::try_from(left) {
        Ok(left) if !left.is_zero() => Plan {
            actions: Vec::new(),
            again_after: Some(left),
        },
        // Only as it was seen: somebody may have given it more time since.
        _ => vec![Action::delete_seen_with(job, Propagation::Foreground)].into(),
    }
}

pub struct TtlAfterFinishedController {
    jobs: Cache<Job>,
}

impl TtlAfterFinishedController {
    pub fn new(informers: &Informers) -> Self {
        Self { jobs: informers.of() }
    }
}

impl Controller for TtlAfterFinishedController {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.jobs);
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        self.jobs
            .get(key)
            .map(|job| plan(&job, context.now))
            .unwrap_or_default()
    }
}
