//! ReplicationController: a ReplicaSet with a plain map for its selector.

use super::plan::{Replicas, Status, decide};
use super::status;
use crate::action::{Action, Plan};
use crate::adoption;
use crate::object::{Key, MetaView, controller_reference};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::selector::includes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, ReplicationController};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// What the plan of one ReplicationController reads.
pub struct Observed {
    pub controller: Arc<ReplicationController>,
    /// All pods of the namespace.
    pub pods: Vec<Arc<Pod>>,
    pub failed: Option<String>,
    pub now: Timestamp,
}

pub fn plan(observed: &Observed) -> Plan {
    let controller = observed.controller.as_ref();
    let Some(spec) = &controller.spec else {
        return Plan::nothing();
    };
    let Some(wanted) = spec.selector.as_ref().filter(|wanted| !wanted.is_empty()) else {
        return Plan::nothing();
    };
    let reference = controller_reference::<ReplicationController>(&controller.metadata);
    let candidates = observed.pods.iter().cloned();
    let claimed = adoption::claim(controller, &reference, candidates, |meta| {
        includes(meta.labels.as_ref(), wanted)
    });
    if !claimed.actions.is_empty() {
        return claimed.actions.into();
    }
    let empty = PodTemplateSpec::default();
    let replicas = Replicas {
        meta: &controller.metadata,
        reference,
        count: spec.replicas.unwrap_or(1),
        min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        template: spec.template.as_ref().unwrap_or(&empty),
    };
    let decision = decide(
        &replicas,
        &claimed.owned,
        &claimed.owned,
        observed.failed.as_deref(),
        observed.now,
    );
    let mut plan = decision.pods;
    if let Some(update) = status_update(controller, &decision.status, observed.now) {
        plan.actions.insert(0, update);
    }
    plan
}

fn status_update(controller: &ReplicationController, observed: &Status, now: Timestamp) -> Option<Action> {
    let before = converted(&controller.status.clone().unwrap_or_default());
    let after = status::next(&before, observed, now)?;
    let mut updated = controller.clone();
    updated.status = Some(converted(&after));
    Some(Action::update_status(&updated))
}

/// The same fields in the other kind's status; `terminatingReplicas` is a ReplicaSet's alone.
/// Source: `pkg/controller/replication/conversion.go` (1.36).
fn converted<T: DeserializeOwned>(status: &impl Serialize) -> T {
    let fields = serde_json::to_value(status).expect("a status has string keys only");
    serde_json::from_value(fields).expect("both kinds' fields have the same types")
}

pub struct ReplicationControllerController {
    controllers: Cache<ReplicationController>,
    pods: Cache<Pod>,
}

impl ReplicationControllerController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            controllers: informers.of(),
            pods: informers.of(),
        }
    }
}

impl Controller for ReplicationControllerController {
    fn name(&self) -> &'static str {
        "replicationcontroller-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.controllers);
        let controllers = self.controllers.clone();
        watches.children(&self.pods, "ReplicationController", move |pod| {
            controllers
                .list_namespace(pod.metadata.namespace())
                .into_iter()
                .filter(|controller| {
                    let wanted = controller.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                    wanted.is_some_and(|wanted| {
                        !wanted.is_empty() && includes(pod.metadata.labels.as_ref(), wanted)
                    })
                })
                .map(|controller| Key::of(&controller.metadata))
                .collect()
        });
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        let Some(controller) = self.controllers.get(key) else {
            return Plan::nothing();
        };
        plan(&Observed {
            controller,
            pods: self.pods.list_namespace(&key.namespace),
            failed: context.failure.clone(),
            now: context.now,
        })
    }
}
