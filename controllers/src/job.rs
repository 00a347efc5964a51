//! Job: runs pods until enough of them succeeded or too many failed.

mod creation;
mod ending;
mod failure_policy;
mod indexes;
mod plan;
mod tally;
#[cfg(test)]
mod tests;
mod ttl;

pub use plan::{Observed, orphans, plan};
pub use ttl::TtlAfterFinishedController;

use crate::action::Plan;
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::selector;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// Keeps a pod until its outcome is counted.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";

pub struct JobController {
    jobs: Cache<Job>,
    pods: Cache<Pod>,
}

impl JobController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            jobs: informers.of(),
            pods: informers.of(),
        }
    }
}

impl Controller for JobController {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.jobs);
        let jobs = self.jobs.clone();
        watches.children(&self.pods, "Job", move |pod| {
            jobs.list_namespace(pod.metadata.namespace())
                .into_iter()
                .filter(|job| {
                    let wanted = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                    wanted.is_some_and(|wanted| {
                        !selector::is_empty(wanted) && selector::selects(wanted, pod.metadata.labels.as_ref())
                    })
                })
                .map(|job| Key::of(&job.metadata))
                .collect()
        });
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        let pods = self.pods.list_namespace(&key.namespace);
        match self.jobs.get(key) {
            Some(job) => plan(&Observed {
                job,
                pods,
                now: context.now,
            }),
            None => {
                let named = |pod: &Arc<Pod>| {
                    let owner = pod.metadata.controller();
                    owner.is_some_and(|owner| owner.kind == "Job" && owner.name == key.name)
                };
                orphans(pods.into_iter().filter(named))
            }
        }
    }
}
