//! Deployment: a ReplicaSet for each version of the pod template, and the way from one to the next.

mod observed;
mod plan;
mod recreate;
mod revision;
mod rolling;
mod scaling;
mod status;
#[cfg(test)]
mod tests;

pub use observed::Observed;
pub use plan::plan;

use crate::action::Plan;
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::selector;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;
use support::Sabotage;

pub struct DeploymentController {
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    sabotage: Sabotage,
}

impl DeploymentController {
    pub fn new(informers: &Informers, sabotage: Sabotage) -> Self {
        Self {
            sabotage,
            deployments: informers.of(),
            sets: informers.of(),
            pods: informers.of(),
        }
    }
}

impl Controller for DeploymentController {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.deployments);
        let deployments = self.deployments.clone();
        watches.children(&self.sets, "Deployment", move |set| {
            deployments
                .list_namespace(set.metadata.namespace())
                .into_iter()
                .filter(|deployment| {
                    deployment.spec.as_ref().is_some_and(|spec| {
                        !selector::is_empty(&spec.selector)
                            && selector::selects(&spec.selector, set.metadata.labels.as_ref())
                    })
                })
                .map(|deployment| Key::of(&deployment.metadata))
                .collect()
        });
        // Recreate waits for the last old pod to be gone.
        let sets = self.sets.clone();
        watches.on(&self.pods, move |change| {
            let Some(pod) = change.old.as_ref().filter(|_| change.new.is_none()) else {
                return Vec::new();
            };
            let Some(owner) = pod
                .metadata
                .controller()
                .filter(|owner| owner.kind == "ReplicaSet")
            else {
                return Vec::new();
            };
            let key = Key::new(pod.metadata.namespace(), &owner.name);
            let set = sets.get(&key);
            let deployment = set.as_ref().and_then(|set| set.metadata.controller());
            deployment
                .filter(|owner| owner.kind == "Deployment")
                .map(|owner| Key::new(&key.namespace, &owner.name))
                .into_iter()
                .collect()
        });
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        let Some(mut deployment) = self.deployments.get(key) else {
            return Plan::nothing();
        };
        if self.sabotage.is("rollout-takes-all") {
            take_all(Arc::make_mut(&mut deployment));
        }
        plan(&Observed {
            deployment,
            sets: self.sets.list_namespace(&key.namespace),
            pods: self.pods.list_namespace(&key.namespace),
            now: context.now,
        })
    }
}

/// The known bug of a roll-out that asks for no leave.
fn take_all(deployment: &mut Deployment) {
    let strategy = deployment.spec.as_mut().and_then(|spec| spec.strategy.as_mut());
    if let Some(update) = strategy.and_then(|strategy| strategy.rolling_update.as_mut()) {
        update.max_unavailable = Some(IntOrString::String("100%".to_owned()));
    }
}
