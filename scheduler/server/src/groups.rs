//! Which pods belong together without saying so: those of one Service or controller.
//!
//! Follows upstream's `plugins/helper/spread.go`, `DefaultSelector`.

use crate::watches::Watches;
use scheduler_core::{PodInfo, Selector};

/// Selects the pods to spread with `pod`; `None` when it belongs to nothing.
pub(crate) fn selector(watches: &Watches, pod: &PodInfo) -> Option<Selector> {
    let mut selector = Selector::default();
    for service in watches.services.store().list_namespace(&pod.namespace) {
        let labels = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let Some(labels) = labels.filter(|labels| !labels.is_empty()) else {
            continue;
        };
        let chosen = Selector::from_labels(labels);
        if chosen.matches(&pod.labels) {
            selector.extend(chosen);
        }
    }
    if let Some(owner) = &pod.controller {
        let key = format!("{}/{}", pod.namespace, owner.name);
        let chosen = match owner.kind.as_str() {
            "ReplicaSet" => watches
                .replica_sets
                .store()
                .get(&key)
                .and_then(|set| Some(Selector::from_label_selector(&set.spec.as_ref()?.selector))),
            "StatefulSet" => watches
                .stateful_sets
                .store()
                .get(&key)
                .and_then(|set| Some(Selector::from_label_selector(&set.spec.as_ref()?.selector))),
            "ReplicationController" => {
                watches
                    .replication_controllers
                    .store()
                    .get(&key)
                    .and_then(|controller| {
                        Some(Selector::from_labels(
                            controller.spec.as_ref()?.selector.as_ref()?,
                        ))
                    })
            }
            _ => None,
        };
        if let Some(chosen) = chosen {
            selector.extend(chosen);
        }
    }
    (!selector.is_empty()).then_some(selector)
}
