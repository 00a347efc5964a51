//! What a new cluster must hold before its users come: accounts, and a namespace for beats.

use super::NAMESPACE;
use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// A control plane that isn't up by then never will be: a first start on a slow, busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const CALL: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until the cluster takes all of it, and its controllers work.
///
/// # Errors
/// When it does not in time.
pub async fn prepare(client: &Client) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let prepared = timeout(CALL, all(client)).await.context("no answer").flatten();
        let Err(error) = prepared else { return Ok(()) };
        if began.elapsed() > PATIENCE {
            return Err(error.context("the control plane does not come up"));
        }
        sleep(PAUSE).await;
    }
}

async fn all(client: &Client) -> anyhow::Result<()> {
    create::<Namespace>(Api::all(client.clone()), json!({"metadata": {"name": NAMESPACE}})).await?;
    // Pods are taken once their account is there, which is the controllers' work.
    for namespace in ["default", NAMESPACE] {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        accounts.get("default").await?;
    }
    Ok(())
}

async fn create<K>(api: Api<K>, object: Value) -> anyhow::Result<()>
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    match api
        .create(&PostParams::default(), &serde_json::from_value(object)?)
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        created => Ok(created.map(drop)?),
    }
}
