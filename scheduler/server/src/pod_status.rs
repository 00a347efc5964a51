//! What a pod's status says about its scheduling.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use scheduler_core::PodInfo;
use serde_json::json;
use support::Env;

/// The changes to make; `None` leaves a field as it is.
#[derive(Debug, Default)]
pub(crate) struct StatusChange {
    /// Why it's unschedulable.
    pub(crate) message: Option<String>,
    pub(crate) nominated_node: Option<String>,
}

impl StatusChange {
    /// Whether `pod` says all of it already.
    pub(crate) fn is_in(&self, pod: &Pod) -> bool {
        let status = pod.status.as_ref();
        let condition = status
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == "PodScheduled");
        let said = self.message.as_ref().is_none_or(|message| {
            condition.is_some_and(|condition| {
                condition.status == "False"
                    && condition.reason.as_deref() == Some("Unschedulable")
                    && condition.message.as_ref() == Some(message)
            })
        });
        let nominated = status.and_then(|status| status.nominated_node_name.as_deref());
        said && self
            .nominated_node
            .as_ref()
            .is_none_or(|node| nominated.unwrap_or_default() == node)
    }
}

/// Writes `change`, unless the pod was replaced by another of its name.
pub(crate) async fn write(
    client: Client,
    env: Env,
    pod: &PodInfo,
    change: &StatusChange,
    was_false: bool,
) -> Result<(), kube::Error> {
    let mut status = json!({});
    if let Some(message) = &change.message {
        let mut condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        });
        if !was_false {
            let now = jiff::Timestamp::from_second(env.clock.now().as_second()).unwrap_or_default();
            condition["lastTransitionTime"] = json!(now.to_string());
        }
        status["conditions"] = json!([condition]);
    }
    if let Some(node) = &change.nominated_node {
        // Null removes the field.
        status["nominatedNodeName"] = if node.is_empty() { json!(null) } else { json!(node) };
    }
    let patch = json!({"metadata": {"uid": pod.uid}, "status": status});
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace);
    api.patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .map(drop)
}
