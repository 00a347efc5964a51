//! A user of the cluster: rolls out a Deployment, scales it through faults, and judges what comes of it.

use crate::identities::{API_SERVERS, NODES, STORES, admin_config};
use crate::scenario::{Phase, Story};
use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use proto::etcdserverpb::StatusRequest;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use support::Env;
use tokio::time::{sleep, timeout};

const DEPLOYMENT: &str = "web";
/// Conditions are looked at this often; a failed look is looked at again, as any client would.
const POLL: Duration = Duration::from_millis(250);
/// Longer than any fault lasts and any fail-over takes.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longer than leases and resyncs: who came back has caught up and acted.
const SETTLE: Duration = Duration::from_secs(10);
const CALL: Duration = Duration::from_secs(5);

/// The whole story. An error is a violation, and says which condition was not met.
pub(crate) async fn live(env: Env, story: Story) -> anyhow::Result<()> {
    let client = kubeclient::client(&env, &admin_config())?;
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    eventually("the Deployment is created", async || create(&deployments).await).await?;
    eventually("4 replicas are available", async || {
        available(&deployments, 4).await
    })
    .await?;

    let leader = eventually("the store has a leader", async || store_leader(&env).await).await?;
    story.name_store_leader(leader);
    story.enter(Phase::StoreAndApiDown);
    eventually("scaled to 6", async || scale(&deployments, 6).await).await?;
    eventually("6 replicas are available", async || {
        available(&deployments, 6).await
    })
    .await?;

    story.enter(Phase::LeadersDown);
    eventually("scaled to 3", async || scale(&deployments, 3).await).await?;
    eventually("3 replicas are left", async || available(&deployments, 3).await).await?;
    eventually("scaled to 8", async || scale(&deployments, 8).await).await?;
    eventually("8 replicas are available", async || {
        available(&deployments, 8).await
    })
    .await?;

    story.enter(Phase::Healed);
    eventually("every host is back", async || {
        ensure!(story.all_up(), "some host is down");
        Ok(())
    })
    .await?;
    // Nothing that returned may undo anything: the end is looked at after everyone had time to act.
    sleep(SETTLE).await;
    for server in API_SERVERS {
        eventually("every API server shows the same end", async || {
            judge(&env, server).await
        })
        .await?;
    }
    story.enter(Phase::Done);
    Ok(())
}

async fn eventually<T>(what: &str, look: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut last = anyhow::anyhow!("never looked");
    let waited = timeout(PATIENCE, async {
        loop {
            match timeout(CALL, look()).await {
                Ok(Ok(found)) => return found,
                Ok(Err(error)) => last = error,
                Err(_) => last = anyhow::anyhow!("no answer within {CALL:?}"),
            }
            sleep(POLL).await;
        }
    })
    .await;
    waited.map_err(|_| last.context(format!("not within {PATIENCE:?}: {what}")))
}

async fn create(deployments: &Api<Deployment>) -> anyhow::Result<()> {
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": DEPLOYMENT},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": DEPLOYMENT}},
            "template": {
                "metadata": {"labels": {"app": DEPLOYMENT}},
                // A token is signed with the operating system's randomness: it would be in the trace.
                "spec": {"automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "web", "image": "web:1",
                        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]},
            },
        },
    }))?;
    match deployments.create(&PostParams::default(), &deployment).await {
        // An earlier attempt was answered by nobody but done all the same.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        outcome => outcome.map(|_| ()).context("creating"),
    }
}

async fn scale(deployments: &Api<Deployment>, replicas: i32) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments
        .patch(DEPLOYMENT, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

async fn available(deployments: &Api<Deployment>, wanted: i32) -> anyhow::Result<()> {
    let deployment = deployments.get(DEPLOYMENT).await?;
    let status = deployment.status.context("no status yet")?;
    let current = status.observed_generation == deployment.metadata.generation;
    let counts = (
        status.replicas.unwrap_or(0),
        status.available_replicas.unwrap_or(0),
    );
    ensure!(
        current && counts == (wanted, wanted),
        "replicas, available: {counts:?} of {wanted}"
    );
    Ok(())
}

async fn store_leader(env: &Env) -> anyhow::Result<String> {
    for store in STORES {
        let mut client = MaintenanceClient::new(support::grpc_channel(env, &format!("{store}:2379"), None));
        if let Ok(status) = client.status(StatusRequest {}).await {
            let status = status.into_inner();
            if status
                .header
                .is_some_and(|header| header.member_id == status.leader)
            {
                return Ok(store.to_owned());
            }
        }
    }
    bail!("no member calls itself the leader")
}

/// The pods of the Deployment as one API server shows them: as many as wanted, each on a node that exists.
async fn judge(env: &Env, server: &str) -> anyhow::Result<()> {
    let config = kubeclient::ClientConfig {
        servers: vec![format!("{server}:6443")],
        ..admin_config()
    };
    let pods: Api<Pod> = Api::default_namespaced(kubeclient::client(env, &config)?);
    let pods = pods
        .list(&ListParams::default().labels(&format!("app={DEPLOYMENT}")))
        .await?
        .items;
    ensure!(pods.len() == 8, "{} pods on {server}", pods.len());
    let mut addresses = BTreeSet::new();
    for pod in &pods {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let node = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.as_deref())
            .unwrap_or_default();
        ensure!(NODES.contains(&node), "{name} is bound to {node:?}");
        let status = pod.status.as_ref().context("a pod without status")?;
        ensure!(
            status.phase.as_deref() == Some("Running"),
            "{name} is {:?}",
            status.phase
        );
        let address = status.pod_ip.clone().context("a running pod without address")?;
        ensure!(addresses.insert(address.clone()), "{address} belongs to two pods");
    }
    Ok(())
}
