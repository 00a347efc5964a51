//! Writing a pod's status.

use crate::context::Context;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Api, PostParams};
use std::sync::Arc;

const ATTEMPTS: usize = 4;
/// Conditions that the agent owns; the others are whatever the object has.
const OWNED: [&str; 4] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
];

pub(super) enum Written {
    /// With the object as it is now.
    Yes(Arc<Pod>),
    /// There is no such pod any more, or another one of that name.
    Gone,
    No,
}

/// Replaces the status under the version that was read; on a conflict reads again and keeps what others
/// wrote.
pub(super) async fn write(context: &Context, pod: &Pod, status: &PodStatus) -> Written {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let mut base = pod.clone();
    for _ in 0..ATTEMPTS {
        let mut next = status.clone();
        keep_foreign(base.status.as_ref(), &mut next);
        base.status = Some(next);
        match pods.replace_status(name, &PostParams::default(), &base).await {
            Ok(written) => return Written::Yes(Arc::new(written)),
            Err(kube::Error::Api(answer)) if answer.is_not_found() => return Written::Gone,
            Err(kube::Error::Api(answer)) if answer.is_conflict() => {}
            Err(error) => {
                tracing::warn!(pod = name, namespace, %error, "status cannot be written");
                return Written::No;
            }
        }
        match pods.get_opt(name).await {
            Ok(Some(fresh)) if fresh.metadata.uid == pod.metadata.uid => base = fresh,
            Ok(_) => return Written::Gone,
            Err(error) => {
                tracing::warn!(pod = name, namespace, %error, "pod cannot be read");
                return Written::No;
            }
        }
    }
    Written::No
}

fn keep_foreign(base: Option<&PodStatus>, next: &mut PodStatus) {
    let Some(base) = base else { return };
    let own = |type_: &str| OWNED.contains(&type_);
    let foreign: Vec<_> = base
        .conditions
        .iter()
        .flatten()
        .filter(|c| !own(&c.type_))
        .cloned()
        .collect();
    let conditions = next.conditions.get_or_insert_default();
    conditions.retain(|c| own(&c.type_) || !foreign.iter().any(|f| f.type_ == c.type_));
    conditions.extend(foreign);
    next.nominated_node_name.clone_from(&base.nominated_node_name);
    next.resource_claim_statuses
        .clone_from(&base.resource_claim_statuses);
}
