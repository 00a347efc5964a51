//! Connections to node agents, pods and services.

use crate::state::State;
use apiserver_core::{ApiError, tree};
use serde_json::Value;
use std::net::IpAddr;
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

    /// An address that a pod or an endpoint claims.
    ///
    /// # Errors
    /// 400 for addresses of this machine itself: whoever writes a status must not reach what listens here
    /// (upstream: apimachinery/pkg/util/proxy, IsProxyableIP).
    pub(super) fn plain(host: &str, port: i64) -> Result<Self, ApiError> {
        let reachable = host.parse::<IpAddr>().is_ok_and(|ip| {
            let link_local = match ip {
                IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
                IpAddr::V6(ip) => ip.is_unicast_link_local(),
            };
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
        });
        if !reachable {
            return Err(ApiError::bad_request(format!("address not allowed: {host:?}")));
        }
        Ok(Self {
            address: join(host, port),
            agent: false,
        })
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

#[cfg(test)]
mod tests {
    use super::Backend;

    #[test]
    fn a_pod_that_claims_our_own_address_is_not_connected_to() {
        assert_eq!(
            Backend::plain("10.244.0.5", 80).expect("a pod").address,
            "10.244.0.5:80"
        );
        for host in [
            "127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "::1",
            "fe80::1",
            "localhost",
        ] {
            assert!(Backend::plain(host, 80).is_err(), "{host}");
        }
    }
}
