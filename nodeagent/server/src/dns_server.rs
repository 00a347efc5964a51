//! Cluster DNS on the node: answers for the cluster from memory, everything else from the node's own resolvers.
//!
//! Every node serves the cluster DNS address itself, so that a name costs no hop and no other node's failure matters.
//!
//! Invariants:
//! - Until Services and endpoints are known, a question about the cluster is refused, not denied: "no such name" would
//!   be believed and kept.
//! - A resolver that doesn't answer is left alone for a while: its silence mustn't slow every question.

mod records;
mod tcp;
mod udp;
mod upstream;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kubeclient::{Informer, Store};
use nodeagent_core::{DnsOutcome, DnsZone, finish_chase, respond, server_failure};
use records::follow;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use support::Env;
use tokio_util::sync::CancellationToken;
use upstream::{Transport, Upstream};

pub const DNS_PORT: u16 = 53;

/// Where to serve, and whom to ask.
#[derive(Debug, Clone)]
pub struct DnsServerConfig {
    /// Addresses to serve on; they must be the node's own, see [`DnsServer::claim_address`].
    pub listen: Vec<SocketAddr>,
    /// Such as `cluster.local`.
    pub domain: String,
    /// The node's own resolvers, in the order in which they are asked.
    pub upstreams: Vec<SocketAddr>,
}

impl DnsServerConfig {
    /// Serves `cluster_dns` on port 53 and forwards to `nameservers`, of which addresses of its own are left out.
    pub fn new(cluster_dns: &[String], domain: &str, nameservers: &[String]) -> Self {
        let parse =
            |texts: &[String]| -> Vec<IpAddr> { texts.iter().filter_map(|text| text.parse().ok()).collect() };
        let own = parse(cluster_dns);
        let others = parse(nameservers)
            .into_iter()
            .filter(|address| !own.contains(address));
        Self {
            upstreams: others.map(|address| SocketAddr::new(address, DNS_PORT)).collect(),
            listen: own
                .iter()
                .map(|address| SocketAddr::new(*address, DNS_PORT))
                .collect(),
            domain: domain.to_owned(),
        }
    }
}

/// The DNS server of one node.
pub struct DnsServer {
    shared: Arc<Shared>,
    listen: Vec<SocketAddr>,
    env: Env,
    /// Of its own; they stop with it.
    _informers: Option<(Informer<Service>, Informer<EndpointSlice>)>,
}

/// What all questions share.
struct Shared {
    zone: RwLock<DnsZone>,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    upstream: Upstream,
}

impl DnsServer {
    /// Starts to watch Services and EndpointSlices; must be called inside a tokio runtime.
    pub fn new(config: DnsServerConfig, client: kube::Client, env: Env) -> Self {
        let services = Informer::all(Api::all(client.clone()), &env);
        let slices = Informer::all(Api::all(client), &env);
        let mut server = Self::over(config, services.store().clone(), slices.store().clone(), env);
        server._informers = Some((services, slices));
        server
    }

    /// Over copies that others use too.
    pub fn over(
        config: DnsServerConfig,
        services: Store<Service>,
        slices: Store<EndpointSlice>,
        env: Env,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                zone: RwLock::new(DnsZone::new(&config.domain)),
                services,
                slices,
                upstream: Upstream::new(config.upstreams, &env),
            }),
            listen: config.listen,
            env,
            _informers: None,
        }
    }

    /// Makes `address` one of the node's own, in the network namespace of this process.
    ///
    /// # Errors
    /// When `ip` can't be run or refuses.
    pub async fn claim_address(address: IpAddr) -> anyhow::Result<()> {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let output = tokio::process::Command::new("ip")
            .args(["address", "replace", &format!("{address}/{prefix}"), "dev", "lo"])
            .output()
            .await?;
        anyhow::ensure!(
            output.status.success(),
            "claiming {address}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Serves UDP and TCP until cancelled.
    ///
    /// # Errors
    /// When an address can't be listened on.
    pub async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut tasks = tokio::task::JoinSet::new();
        for address in &self.listen {
            let socket = udp::bind(*address).await?;
            tasks.spawn(udp::serve(socket, Arc::clone(&self.shared)));
            let listener = self.env.net.listen(&address.to_string()).await?;
            tasks.spawn(tcp::serve(listener, Arc::clone(&self.shared)));
        }
        tasks.spawn(follow(
            Arc::clone(&self.shared),
            self.shared.services.subscribe(),
            self.shared.slices.subscribe(),
        ));
        tracing::info!(listen = ?self.listen, "serving cluster DNS");
        cancel.cancelled().await;
        Ok(())
    }
}

impl Shared {
    /// The answer to a question; `None` to say nothing.
    async fn answer(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let over_udp = transport == Transport::Udp;
        let outcome = {
            let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner);
            respond(&zone, query, over_udp)
        };
        let known = self.services.is_synced() && self.slices.is_synced();
        match outcome {
            DnsOutcome::Ignore => None,
            DnsOutcome::Forward => match self.upstream.ask(query, transport).await {
                Some(answer) => Some(answer),
                None => server_failure(query),
            },
            _ if !known => server_failure(query),
            DnsOutcome::Reply(reply) => Some(reply),
            DnsOutcome::Chase { query: next, reply } => match self.upstream.ask(&next, transport).await {
                Some(answer) => Some(finish_chase(&reply, Some(&answer))),
                None => server_failure(query),
            },
        }
    }
}

#[cfg(test)]
mod tests;
