//! Carrying out a preemption: victims are told why, then deleted with their grace period.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use kubeclient::{Leadership, LeadershipLost};
use scheduler_core::PodInfo;
use serde_json::json;
use std::sync::Arc;
use support::Env;

/// Removes `victims` for `pod`; ends early when the lease is lost.
pub(crate) async fn evict(
    client: Client,
    env: Env,
    leadership: Leadership,
    pod: Arc<PodInfo>,
    victims: Vec<Arc<PodInfo>>,
) {
    for victim in victims {
        let write = remove(&client, &env, &pod, &victim);
        match leadership.fenced(write).await {
            Ok(Ok(())) => {}
            // Whoever is left over is chosen again at the next attempt.
            Ok(Err(error)) => {
                tracing::debug!(
                    victim = victim.key,
                    error = &error as &dyn std::error::Error,
                    "not preempted"
                );
            }
            Err(LeadershipLost) => return,
        }
    }
}

async fn remove(client: &Client, env: &Env, pod: &PodInfo, victim: &PodInfo) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &victim.namespace);
    let now = jiff::Timestamp::from_second(env.clock.now().as_second()).unwrap_or_default();
    let patch = json!({"metadata": {"uid": victim.uid}, "status": {"conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": format!("{}: preempting to accommodate a higher priority pod", pod.scheduler_name),
        "lastTransitionTime": now.to_string(),
    }]}});
    match api
        .patch_status(&victim.name, &PatchParams::default(), &Patch::Strategic(patch))
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => return Ok(()),
        other => other.map(drop)?,
    }
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(victim.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&victim.name, &params).await {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}
