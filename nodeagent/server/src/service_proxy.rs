//! Keeps the kernel's ruleset equal to the plan: watches Services and EndpointSlices, applies the difference.
//!
//! Invariants:
//! - The first write replaces the whole table; later ones are single transactions of what changed.
//! - A transaction that fails changed nothing: the next attempt writes the whole table again.
//! - When the proxy stops, its rules stay: traffic goes on while an agent restarts.

mod nft;

pub use nft::Nft;

use async_trait::async_trait;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kubeclient::Store;
use nodeagent_core::{ProxyInput, Ruleset, plan_proxy};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use support::{Backoff, Env};
use tokio_util::sync::CancellationToken;

/// Changes that arrive within this time are applied together.
const GATHER: Duration = Duration::from_millis(20);
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Takes a transaction in the syntax of `nft -f`, all or nothing.
#[async_trait]
pub trait RulesetSink: Send + Sync + 'static {
    /// # Errors
    /// What the kernel, or the tool that talks to it, had against the text.
    async fn apply(&self, transaction: &str) -> Result<(), String>;
}

/// What the proxy of a node must know.
#[derive(Debug, Clone)]
pub struct ServiceProxyConfig {
    pub node_name: String,
    pub cluster_cidr: Option<Ipv4Net>,
    /// Service addresses that this node answers itself.
    pub served_locally: Vec<Ipv4Addr>,
}

pub struct ServiceProxy {
    config: ServiceProxyConfig,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    sink: Arc<dyn RulesetSink>,
    env: Env,
}

impl ServiceProxy {
    pub fn new(
        config: ServiceProxyConfig,
        services: Store<Service>,
        slices: Store<EndpointSlice>,
        sink: Arc<dyn RulesetSink>,
        env: Env,
    ) -> Self {
        Self {
            config,
            services,
            slices,
            sink,
            env,
        }
    }

    /// Runs until `cancel`led.
    pub async fn run(self, cancel: CancellationToken) {
        let mut service_changes = self.services.subscribe();
        let mut slice_changes = self.slices.subscribe();
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = async { tokio::join!(self.services.synced(), self.slices.synced()); } => {}
        }
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, self.env.random.clone());
        let mut applied: Option<Ruleset> = None;
        loop {
            while service_changes.try_recv().is_some() {}
            while slice_changes.try_recv().is_some() {}
            let wait = match self.sync(applied.take()).await {
                Ok(ruleset) => {
                    applied = Some(ruleset);
                    backoff.reset();
                    None
                }
                Err(error) => {
                    tracing::warn!(error, "service rules not applied");
                    Some(backoff.delay())
                }
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = sleep_some(wait) => {}
                _ = service_changes.recv() => tokio::time::sleep(GATHER).await,
                _ = slice_changes.recv() => tokio::time::sleep(GATHER).await,
            }
        }
    }

    async fn sync(&self, applied: Option<Ruleset>) -> Result<Ruleset, String> {
        let (services, slices) = (self.services.list(), self.slices.list());
        let mut wanted = plan_proxy(&ProxyInput {
            services: &services,
            slices: &slices,
            node_name: &self.config.node_name,
            cluster_cidr: self.config.cluster_cidr,
            served_locally: &self.config.served_locally,
        });
        let transaction = match &applied {
            Some(applied) => wanted.change_from(applied),
            None => Some(wanted.full()),
        };
        if let Some(transaction) = transaction {
            self.sink.apply(&transaction).await?;
        }
        Ok(wanted)
    }
}

impl std::fmt::Debug for ServiceProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceProxy")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

async fn sleep_some(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
