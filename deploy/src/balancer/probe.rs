//! Asks an API server again and again whether it is ready.

use super::backends::Backends;
use http::Request;
use kubeclient::{ClientConfig, Credentials};
use std::sync::Arc;
use std::time::Duration;
use support::Env;
use tokio::time::{sleep, timeout};

/// So soon after the last answer the next question is asked.
const INTERVAL: Duration = Duration::from_millis(500);
/// A server that is well answers within milliseconds; its store may take two seconds to be found silent.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Anybody may ask it.
const PATH: &str = "/readyz";

/// A client of this one server, who is nobody.
///
/// # Errors
/// When the authority's certificate can't be used.
pub fn client(env: &Env, address: &str, ca_pem: &str) -> anyhow::Result<kube::Client> {
    let config = ClientConfig {
        servers: vec![address.to_owned()],
        ca_pem: Some(ca_pem.to_owned()),
        credentials: Credentials::Anonymous,
        user_agent: "trireme-balancer".to_owned(),
    };
    Ok(kubeclient::client(env, &config)?)
}

/// Asks for ever.
pub async fn run(client: kube::Client, backends: Arc<Backends>, number: usize) {
    loop {
        match timeout(PATIENCE, ask(&client)).await {
            Ok(Ok(())) => backends.answered(number, true),
            // An answer, whatever it says.
            Ok(Err(kube::Error::Api(_))) => backends.answered(number, false),
            Ok(Err(error)) => {
                tracing::debug!(%error, server = backends.address(number), "not reached");
                backends.missed(number);
            }
            Err(_) => backends.missed(number),
        }
        sleep(INTERVAL).await;
    }
}

async fn ask(client: &kube::Client) -> kube::Result<()> {
    let request = Request::get(PATH).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}
