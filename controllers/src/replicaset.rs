//! ReplicaSet and ReplicationController: keep a number of equal pods.

mod plan;
mod ranking;
mod replication_controller;
mod status;
#[cfg(test)]
mod tests;

pub use replication_controller::ReplicationControllerController;

use crate::action::{Action, Plan};
use crate::adoption;
use crate::object::{Key, MetaView, controller_reference};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::selector;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use plan::{Replicas, Status, decide};
use std::sync::Arc;

/// What the plan of one ReplicaSet reads.
pub struct Observed {
    pub set: Arc<ReplicaSet>,
    /// All pods of the namespace.
    pub pods: Vec<Arc<Pod>>,
    /// The other ReplicaSets of the namespace.
    pub sets: Vec<Arc<ReplicaSet>>,
    pub failed: Option<String>,
    pub now: Timestamp,
}

pub fn plan(observed: &Observed) -> Plan {
    let set = observed.set.as_ref();
    let Some(spec) = &set.spec else {
        return Plan::nothing();
    };
    if selector::is_empty(&spec.selector) {
        return Plan::nothing();
    }
    let reference = controller_reference::<ReplicaSet>(&set.metadata);
    // Finished pods are no candidates for adoption, but those already owned are still released.
    let candidates = observed.pods.iter().cloned();
    let claimed = adoption::claim(set, &reference, candidates, |meta| {
        selector::selects(&spec.selector, meta.labels.as_ref())
    });
    if !claimed.actions.is_empty() {
        // Counts change with the adoptions; the watch brings us back.
        return claimed.actions.into();
    }
    let empty = PodTemplateSpec::default();
    let replicas = Replicas {
        meta: &set.metadata,
        reference,
        count: spec.replicas.unwrap_or(1),
        min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        template: spec.template.as_ref().unwrap_or(&empty),
    };
    let siblings = siblings(observed);
    let decision = decide(
        &replicas,
        &claimed.owned,
        &siblings,
        observed.failed.as_deref(),
        observed.now,
    );
    let mut plan = decision.pods;
    if let Some(update) = status_update(set, &decision.status, observed.now) {
        plan.actions.insert(0, update);
    }
    plan
}

/// Active pods of all ReplicaSets with the same controller (the revisions of one Deployment).
fn siblings(observed: &Observed) -> Vec<Arc<Pod>> {
    let owner = observed.set.metadata.controller().map(|owner| owner.uid.as_str());
    let related: Vec<&str> = observed
        .sets
        .iter()
        .filter(|set| owner.is_some_and(|uid| set.metadata.is_controlled_by(uid)))
        .map(|set| set.metadata.uid())
        .chain([observed.set.metadata.uid()])
        .collect();
    observed
        .pods
        .iter()
        .filter(|pod| {
            pod.metadata
                .controller()
                .is_some_and(|owner| related.contains(&owner.uid.as_str()))
        })
        .cloned()
        .collect()
}

fn status_update(set: &ReplicaSet, observed: &Status, now: Timestamp) -> Option<Action> {
    let before = set.status.clone().unwrap_or_default();
    let after = status::next(&before, observed, now)?;
    let mut updated = set.clone();
    updated.status = Some(after);
    Some(Action::update_status(&updated))
}

pub struct ReplicaSetController {
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
}

impl ReplicaSetController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            sets: informers.of(),
            pods: informers.of(),
        }
    }
}

impl Controller for ReplicaSetController {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.sets);
        let sets = self.sets.clone();
        watches.children(&self.pods, "ReplicaSet", move |pod| {
            let labels = pod.metadata.labels.as_ref();
            sets.list_namespace(pod.metadata.namespace())
                .into_iter()
                .filter(|set| {
                    set.spec.as_ref().is_some_and(|spec| {
                        !selector::is_empty(&spec.selector) && selector::selects(&spec.selector, labels)
                    })
                })
                .map(|set| Key::of(&set.metadata))
                .collect()
        });
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        let Some(set) = self.sets.get(key) else {
            return Plan::nothing();
        };
        plan(&Observed {
            pods: self.pods.list_namespace(&key.namespace),
            sets: self.sets.list_namespace(&key.namespace),
            set,
            failed: context.failure.clone(),
            now: context.now,
        })
    }
}
