//! The commands' view of a cluster's API, as its administrator.

use crate::pki::{Holder, Pki};
use crate::profile::Profile;
use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, ListParams};
use kubeclient::{ClientConfig, Credentials};
use std::time::Duration;
use support::Env;
use tokio::time::Instant;

/// One request of a command; a healthy cluster answers in milliseconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// A client with the administrator's certificate.
///
/// # Errors
/// When the profile's keys can't be read.
pub fn admin(env: &Env, profile: &Profile) -> anyhow::Result<kube::Client> {
    let pki = Pki::new(&profile.pki());
    let config = ClientConfig {
        servers: vec![profile.api_address()],
        ca_pem: Some(pki.ca()?),
        credentials: Credentials::Certificate(pki.identity(Holder::Admin)?),
        user_agent: concat!("trireme/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    Ok(kubeclient::client(env, &config)?)
}

/// Asks the API server whether it is ready; its words when it isn't.
///
/// # Errors
/// When it can't be reached or says no.
pub async fn ready(client: &kube::Client) -> anyhow::Result<()> {
    let request = http::Request::get("/readyz").body(Vec::new())?;
    bounded(client.request_text(request)).await.map(drop)
}

/// Whether the node is ready, and what it says when not.
///
/// # Errors
/// When the API server doesn't answer.
pub async fn node_ready(client: &kube::Client, name: &str) -> anyhow::Result<Result<(), String>> {
    let nodes: Api<Node> = Api::all(client.clone());
    let Some(node) = bounded(nodes.get_opt(name)).await? else {
        return Ok(Err("it has not joined".to_owned()));
    };
    let conditions = node
        .status
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    Ok(
        match conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready")
        {
            Some(condition) if condition.status == "True" => Ok(()),
            Some(condition) => Err(condition.message.or(condition.reason).unwrap_or(condition.status)),
            None => Err("it has not reported yet".to_owned()),
        },
    )
}

/// Removes the node's object; one that is gone is fine.
///
/// # Errors
/// When the API server refuses or doesn't answer.
pub async fn forget_node(client: &kube::Client, name: &str) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    match bounded(nodes.delete(name, &DeleteParams::default())).await {
        Err(error) if is_status(&error, 404) => Ok(()),
        answer => answer.map(drop),
    }
}

/// Whether the API server answered with this HTTP status.
pub fn is_status(error: &anyhow::Error, code: u16) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == code)
}

/// The Service of that name.
///
/// # Errors
/// When there is none.
pub async fn service(client: &kube::Client, namespace: &str, name: &str) -> anyhow::Result<Service> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    bounded(services.get_opt(name))
        .await?
        .with_context(|| format!("no Service `{name}` in namespace `{namespace}`"))
}

/// Whether some endpoint of the Service is ready.
///
/// # Errors
/// When the API server doesn't answer.
pub async fn has_endpoint(client: &kube::Client, namespace: &str, service: &str) -> anyhow::Result<bool> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let slices = bounded(slices.list(&of_service)).await?;
    Ok(slices
        .items
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .any(|endpoint| {
            endpoint
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true)
        }))
}

/// Tries `attempt` until it gives a value; after `patience` its last reason is the error.
///
/// # Errors
/// The last reason, or an error of `attempt`, which ends the waiting at once.
pub async fn wait_for<T, F>(patience: Duration, mut attempt: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Result<T, String>>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match attempt().await? {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() >= deadline => {
                bail!("after {} s still: {reason}", patience.as_secs())
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// A request that is answered in time.
pub async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => bail!(
            "the API server did not answer within {} s",
            REQUEST_TIMEOUT.as_secs()
        ),
    }
}
