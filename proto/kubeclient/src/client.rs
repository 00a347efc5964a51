//! How a component reaches the API servers.

use crate::credentials::{ClientError, Credentials, CredentialsHandle};
use crate::transport::Transport;
use support::Env;

/// Where the API servers are and who we are to them.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `host:port` of each API server; any of them serves any request.
    pub servers: Vec<String>,
    /// The authority that certifies the servers; `None` speaks plain HTTP (inside a simulation only).
    pub ca_pem: Option<String>,
    pub credentials: Credentials,
    pub user_agent: String,
}

/// A client of the API servers; connects at the first request.
///
/// # Errors
/// When no server is named or a PEM text or token can't be used.
pub fn client(env: &Env, config: &ClientConfig) -> Result<kube::Client, ClientError> {
    Ok(replaceable_client(env, config)?.0)
}

/// As [`client`], with the handle that replaces its credentials while it runs.
///
/// # Errors
/// When no server is named or a PEM text or token can't be used.
pub fn replaceable_client(
    env: &Env,
    config: &ClientConfig,
) -> Result<(kube::Client, CredentialsHandle), ClientError> {
    let transport = Transport::new(env, config)?;
    let handle = transport.credentials();
    let service = tower::service_fn(move |request| {
        let transport = transport.clone();
        async move { transport.send(request).await }
    });
    Ok((kube::Client::new(service, "default"), handle))
}
