//! StatefulSet: pods with names and volumes of their own, in order.

mod identity;
mod plan;
mod status;
#[cfg(test)]
mod tests;

pub use plan::{Observed, plan};

use crate::action::Plan;
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::selector;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

pub struct StatefulSetController {
    sets: Cache<StatefulSet>,
    pods: Cache<Pod>,
    claims: Cache<PersistentVolumeClaim>,
    revisions: Cache<ControllerRevision>,
}

impl StatefulSetController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            sets: informers.of(),
            pods: informers.of(),
            claims: informers.of(),
            revisions: informers.of(),
        }
    }
}

impl Controller for StatefulSetController {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.sets);
        let sets = self.sets.clone();
        watches.children(&self.pods, "StatefulSet", move |pod| {
            sets.list_namespace(pod.metadata.namespace())
                .into_iter()
                .filter(|set| {
                    set.spec
                        .as_ref()
                        .is_some_and(|spec| selector::selects(&spec.selector, pod.metadata.labels.as_ref()))
                })
                .map(|set| Key::of(&set.metadata))
                .collect()
        });
        watches.children(&self.revisions, "StatefulSet", |_| Vec::new());
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        let Some(set) = self.sets.get(key) else {
            return Plan::nothing();
        };
        plan(&Observed {
            set,
            pods: self.pods.list_namespace(&key.namespace),
            claims: self.claims.list_namespace(&key.namespace),
            revisions: self.revisions.list_namespace(&key.namespace),
            now: context.now,
        })
    }
}
