//! Carrying out a decision: volumes first, then the binding.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use kubeclient::{Leadership, Store};
use scheduler_core::{Claim, PodInfo, VolumeAction};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long the volumes of a pod may take to be bound (upstream: `bindTimeoutSeconds`).
const VOLUME_TIMEOUT: Duration = Duration::from_secs(600);
/// Between looks at claims that are being bound; they are read from the informer.
const VOLUME_POLL: Duration = Duration::from_millis(200);
/// One write; beyond it the pod is read to see what became of it.
const BIND_TIMEOUT: Duration = Duration::from_secs(10);
/// Between attempts to learn what became of a binding.
const READ_RETRY: Duration = Duration::from_millis(500);

/// A decision to carry out.
pub(crate) struct Binding {
    pub(crate) pod: Arc<PodInfo>,
    pub(crate) node: String,
    pub(crate) volumes: Vec<VolumeAction>,
}

/// What became of it.
pub(crate) enum Outcome {
    Bound,
    /// Not bound, for sure.
    Refused(String),
    /// The lease is lost; whoever leads now will see.
    Unknown,
}

/// Binds a pod. Ends only when it's known whether the pod is bound, or the lease is lost.
pub(crate) async fn bind(
    client: Client,
    leadership: Leadership,
    claims: Store<PersistentVolumeClaim>,
    binding: Arc<Binding>,
) -> Outcome {
    let pod = &binding.pod;
    if !binding.volumes.is_empty() {
        let prepared = leadership
            .fenced(prepare_volumes(&client, &leadership, &claims, &binding))
            .await;
        match prepared {
            Ok(Ok(())) => {}
            Ok(Err(message)) => return Outcome::Refused(message),
            Err(_) => return Outcome::Unknown,
        }
    }
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace);
    let body = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": binding.node},
    });
    let post = PostParams::default();
    let write = api.create_subresource::<_, serde_json::Value>("binding", &pod.name, &post, &body);
    match leadership.fenced(tokio::time::timeout(BIND_TIMEOUT, write)).await {
        Ok(Ok(Ok(_))) => Outcome::Bound,
        // A clear no of the API server; 5xx and the like may still have been carried out.
        Ok(Ok(Err(kube::Error::Api(status)))) if (400..500).contains(&status.code) && status.code != 409 => {
            Outcome::Refused(status.message.clone())
        }
        Ok(Ok(Err(error))) => read_back(&api, &leadership, &binding, error.to_string()).await,
        Ok(Err(_)) => read_back(&api, &leadership, &binding, "the binding timed out".to_owned()).await,
        Err(_) => Outcome::Unknown,
    }
}

async fn read_back(api: &Api<Pod>, leadership: &Leadership, binding: &Binding, message: String) -> Outcome {
    loop {
        let read = tokio::time::timeout(BIND_TIMEOUT, api.get_opt(&binding.pod.name));
        match leadership.fenced(read).await {
            Ok(Ok(Ok(None))) => return Outcome::Refused(message),
            Ok(Ok(Ok(Some(pod)))) => {
                let same = pod.metadata.uid.as_deref() == Some(&binding.pod.uid);
                let node = pod.spec.and_then(|spec| spec.node_name).unwrap_or_default();
                return if same && node == binding.node {
                    Outcome::Bound
                } else {
                    Outcome::Refused(message)
                };
            }
            Ok(_) => tokio::time::sleep(READ_RETRY).await,
            Err(_) => return Outcome::Unknown,
        }
    }
}

/// Reserves and asks for volumes, then waits until all claims are bound.
async fn prepare_volumes(
    client: &Client,
    leadership: &Leadership,
    claims: &Store<PersistentVolumeClaim>,
    binding: &Binding,
) -> Result<(), String> {
    for action in &binding.volumes {
        leadership
            .fenced(prepare(client, claims, &binding.node, action))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("preparing volumes: {error}"))?;
    }
    let keys: Vec<String> = binding
        .pod
        .claims
        .iter()
        .map(|name| format!("{}/{name}", binding.pod.namespace))
        .collect();
    let bound = async {
        loop {
            let all = keys
                .iter()
                .all(|key| claims.get(key).is_some_and(|claim| Claim::new(&claim).is_bound()));
            if all {
                return;
            }
            tokio::time::sleep(VOLUME_POLL).await;
        }
    };
    tokio::time::timeout(VOLUME_TIMEOUT, bound)
        .await
        .map_err(|_| "binding volumes: timed out waiting for the condition".to_owned())
}

async fn prepare(
    client: &Client,
    claims: &Store<PersistentVolumeClaim>,
    node: &str,
    action: &VolumeAction,
) -> Result<(), kube::Error> {
    let params = PatchParams::default();
    match action {
        VolumeAction::Provision { claim } => {
            let (namespace, name) = claim.split_once('/').unwrap_or(("", claim));
            let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
            let patch = json!({
                "metadata": {"annotations": {"volume.kubernetes.io/selected-node": node}},
            });
            api.patch(name, &params, &Patch::Merge(patch)).await.map(drop)
        }
        VolumeAction::Reserve { claim, volume } => {
            let (namespace, name) = claim.split_once('/').unwrap_or(("", claim));
            let uid = claims.get(claim).and_then(|claim| claim.metadata.uid.clone());
            let api: Api<PersistentVolume> = Api::all(client.clone());
            let current = api.get(volume).await?;
            // With the version that was looked at: another claim may have taken it meanwhile.
            let patch = json!({
                "metadata": {
                    "resourceVersion": current.metadata.resource_version,
                    "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"},
                },
                "spec": {"claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "namespace": namespace, "name": name, "uid": uid,
                }},
            });
            api.patch(volume, &params, &Patch::Merge(patch)).await.map(drop)
        }
    }
}
