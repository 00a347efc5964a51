//! DaemonSet: one pod on every node that may run it.

mod placement;
mod plan;
#[cfg(test)]
mod tests;
mod update;

pub use plan::{Observed, plan};

use crate::action::Plan;
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::selector;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::sync::Arc;

pub struct DaemonSetController {
    sets: Cache<DaemonSet>,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    revisions: Cache<ControllerRevision>,
}

impl DaemonSetController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            sets: informers.of(),
            pods: informers.of(),
            nodes: informers.of(),
            revisions: informers.of(),
        }
    }
}

impl Controller for DaemonSetController {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.sets);
        let sets = self.sets.clone();
        watches.children(&self.pods, "DaemonSet", move |pod| {
            sets.list_namespace(pod.metadata.namespace())
                .into_iter()
                .filter(|set| {
                    set.spec.as_ref().is_some_and(|spec| {
                        !selector::is_empty(&spec.selector)
                            && selector::selects(&spec.selector, pod.metadata.labels.as_ref())
                    })
                })
                .map(|set| Key::of(&set.metadata))
                .collect()
        });
        watches.children(&self.revisions, "DaemonSet", |_| Vec::new());
        let sets = self.sets.clone();
        watches.on(&self.nodes, move |change| {
            // Heartbeats change nothing about where pods may run.
            let shape = |node: &Option<Arc<Node>>| {
                let node = node.as_ref()?;
                Some((node.metadata.labels.clone(), node.spec.clone()))
            };
            if shape(&change.old) == shape(&change.new) {
                return Vec::new();
            }
            sets.list().iter().map(|set| Key::of(&set.metadata)).collect()
        });
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        let Some(set) = self.sets.get(key) else {
            return Plan::nothing();
        };
        plan(&Observed {
            set,
            pods: self.pods.list_namespace(&key.namespace),
            nodes: self.nodes.list(),
            revisions: self.revisions.list_namespace(&key.namespace),
            now: context.now,
        })
    }
}
