//! Connections to node agents, pods and services.

use crate::state::State;
use apiserver_core::{ApiError, tree};
use serde_json::Value;
use std::time::Duration;
use support::BoxedIo;
use support::tls::ClientTls;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const AGENT_PORT: i64 = 10250;

/// An address to connect to.
#[derive(Debug)]
pub(super) struct Backend {
    /// `host:port`
    pub address: String,
    /// As the cluster's own client, over TLS: a node agent. Else plain.
    pub agent: bool,
}

impl Backend {
    /// The agent of a node object.
    pub(super) fn of_node(node: &Value) -> Result<Self, ApiError> {
        let addresses = tree::list(node, &["status", "addresses"]);
        let of_type = |wanted: &str| {
            addresses
                .iter()
                .find(|address| address["type"] == wanted)
                .map(|address| tree::text(address, &["address"]).to_owned())
        };
        let host = ["InternalIP", "InternalDNS", "Hostname", "ExternalIP"]
            .into_iter()
            .find_map(of_type);
        let host = host.ok_or_else(|| {
            ApiError::internal(format!(
                "no preferred addresses found; known addresses: {addresses:?}"
            ))
        })?;
        let port = tree::int(node, &["status", "daemonEndpoints", "kubeletEndpoint", "Port"])
            .filter(|port| *port > 0)
            .unwrap_or(AGENT_PORT);
        Ok(Self {
            address: join(&host, port),
            agent: true,
        })
    }

    pub(super) fn plain(host: &str, port: i64) -> Self {
        Self {
            address: join(host, port),
            agent: false,
        }
    }

    pub(super) async fn connect(&self, state: &State) -> Result<BoxedIo, ApiError> {
        let connecting = async {
            let stream = state.env.net.connect(&self.address).await?;
            if !self.agent {
                return Ok(stream);
            }
            match &state.config.kubelet {
                // Upgrades exist in HTTP/1.1 only.
                Some(agent) => {
                    let tls = ClientTls::with_alpn(&agent.ca_pem, Some(&agent.client), &[b"http/1.1"])
                        .map_err(std::io::Error::other)?;
                    tls.connect(&self.address, stream).await
                }
                None => Err(std::io::Error::other(
                    "this server has no identity towards node agents",
                )),
            }
        };
        match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(ApiError::internal(format!(
                "error dialing backend: {}: {error}",
                self.address
            ))),
            Err(_) => Err(ApiError::internal(format!(
                "error dialing backend: {}: no answer in time",
                self.address
            ))),
        }
    }
}

fn join(host: &str, port: i64) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
