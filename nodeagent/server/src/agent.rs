//! The agent as a whole: who it is, what it watches, what it serves.

use crate::NodeAgentConfig;
use crate::containerd::Containerd;
use crate::context::Context;
use crate::dns_server::{DnsServer, DnsServerConfig};
use crate::endpoints;
use crate::host::{LinuxHost, NodeHost};
use crate::node::{self, Certificates, Purpose};
use crate::objects::Objects;
use crate::pod::{self, PodManager};
use crate::runtime::{CriRuntime, Runtime};
use crate::service_proxy::{Nft, RulesetSink, ServiceProxy, ServiceProxyConfig};
use anyhow::Context as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::runtime::watcher;
use kubeclient::{ClientConfig, Credentials, EventKind, EventRecorder, Informer, Store};
use nodeagent_core::{DnsSettings, ResolvConf};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::Env;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const RUNTIME_POLL: Duration = Duration::from_millis(200);

/// The kubelet's part of a node.
pub struct NodeAgent {
    config: NodeAgentConfig,
    env: Env,
    runtime: Arc<dyn Runtime>,
    host: Arc<dyn NodeHost>,
    service_rules: Option<Arc<dyn RulesetSink>>,
    serves_dns: bool,
}

impl NodeAgent {
    pub fn new(
        config: NodeAgentConfig,
        env: Env,
        runtime: Arc<dyn Runtime>,
        host: Arc<dyn NodeHost>,
    ) -> Self {
        Self {
            config,
            env,
            runtime,
            host,
            service_rules: None,
            serves_dns: false,
        }
    }

    /// Also carries Services on this node, by rules that go to `sink`.
    #[must_use]
    pub fn with_service_rules(mut self, sink: Arc<dyn RulesetSink>) -> Self {
        self.service_rules = Some(sink);
        self
    }

    /// Also answers cluster DNS, on the cluster's DNS addresses, which become this node's own.
    #[must_use]
    pub fn with_dns(mut self) -> Self {
        self.serves_dns = true;
        self
    }

    /// Joins the cluster and runs its pods until cancelled; pods keep running after. Boxed, so that the machine code
    /// of it all is made in this crate, and not again in every program and test that runs one.
    ///
    /// # Errors
    /// When the node has no way to prove who it is, or its endpoints cannot be served.
    pub fn run(self, cancel: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(self.live(cancel))
    }

    async fn live(self, cancel: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            result = self.serve(cancel.clone()) => result,
        }
    }

    async fn serve(self, cancel: CancellationToken) -> anyhow::Result<()> {
        let Self {
            config,
            env,
            runtime,
            host,
            service_rules,
            serves_dns,
        } = self;
        host.prepare().await.context("preparing the machine")?;
        // Names of the runtime are in every status: nothing is said before it is known.
        let health = loop {
            match runtime.health().await {
                Ok(health) => break health,
                Err(error) => {
                    tracing::debug!(%error, "waiting for the container runtime");
                    sleep(RUNTIME_POLL).await;
                }
            }
        };
        let secure = config.ca_pem.is_some();
        let credentials = if secure {
            Credentials::Certificate(node::client_identity(&config, &env).await?)
        } else {
            config
                .token
                .clone()
                .map_or(Credentials::Anonymous, Credentials::Token)
        };
        let (client, handle) = kubeclient::replaceable_client(
            &env,
            &ClientConfig {
                servers: config.api_servers.clone(),
                ca_pem: config.ca_pem.clone(),
                credentials: credentials.clone(),
                user_agent: crate::USER_AGENT.to_owned(),
            },
        )?;
        let services: Informer<Service> = Informer::all(Api::all(client.clone()), &env);
        let resolv = host
            .read_file(Path::new("/etc/resolv.conf"))
            .await
            .unwrap_or_default();
        let context = Arc::new(Context {
            recorder: EventRecorder::new(client.clone(), &env, "kubelet", Some(&config.node_name)),
            objects: Objects::new(client.clone()),
            services: services.store().clone(),
            host_facts: host.facts().await,
            dns: DnsSettings {
                cluster_servers: config.cluster_dns.clone(),
                cluster_domain: config.cluster_domain.clone(),
                node: ResolvConf::parse(&String::from_utf8_lossy(&resolv)),
            },
            runtime_name: health.name,
            pulls: Context::pull_permits(),
            runtime,
            host,
            client: client.clone(),
            config,
            env: env.clone(),
        });
        let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let rotated = context.config.identity.is_none() && secure;
        if let (true, Credentials::Certificate(identity)) = (rotated, credentials) {
            let certificates = Certificates::new(&context.config, &env, Purpose::Client);
            let client = client.clone();
            tasks.spawn(async move {
                let replace = |identity: &support::tls::Identity| {
                    if let Err(error) = handle.replace(&Credentials::Certificate(identity.clone())) {
                        tracing::error!(%error, "the new certificate cannot be used");
                    }
                };
                certificates.rotate(&client, Some(identity), replace).await;
                Ok(())
            });
        }
        node::register(&context).await;
        context.node_event(EventKind::Normal, "Starting", "Starting kubelet.".to_owned());
        let manager = Arc::new(PodManager::new(Arc::clone(&context)));
        let bound = format!("spec.nodeName={}", context.config.node_name);
        let selection = watcher::Config {
            page_size: None,
            ..watcher::Config::default()
        };
        let pods = Informer::new(Api::all(client.clone()), selection.fields(&bound), &env);
        let nodes: Informer<Node> = Informer::all(Api::all(client.clone()), &env);
        if service_rules.is_some() || serves_dns {
            let slices: Informer<EndpointSlice> = Informer::all(Api::all(client), &env);
            if let Some(sink) = service_rules {
                let proxy = service_proxy(&context, slices.store().clone(), sink);
                tasks.spawn(forever(proxy.run(cancel.clone())));
            }
            if serves_dns {
                let server = dns_server(&context, slices.store().clone());
                tasks.spawn(serve_dns(Arc::clone(&context), server, cancel.clone()));
            }
            // The informer lives as long as the agent, whoever reads its store.
            let stop = cancel.clone();
            tasks.spawn(forever(async move {
                stop.cancelled().await;
                drop(slices);
            }));
        }
        tasks.spawn(forever(node::renew_lease(Arc::clone(&context))));
        tasks.spawn(forever(node::report_status(
            Arc::clone(&context),
            nodes.store().clone(),
        )));
        tasks.spawn(forever(node::follow_nodes(Arc::clone(&context), nodes)));
        tasks.spawn(forever(pod::rotate_logs(
            Arc::clone(&context),
            Arc::clone(&manager),
        )));
        tasks.spawn(endpoints::serve(
            Arc::clone(&context),
            Arc::clone(&manager),
            cancel.clone(),
        ));
        tasks.spawn(forever(run_pods(manager, pods, services, cancel)));
        match tasks.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(error)) => Err(error).context("a part of the agent ended"),
            None => Ok(()),
        }
    }
}

/// Environment variables of pods name services: none starts before those are known.
async fn run_pods(
    manager: Arc<PodManager>,
    pods: Informer<Pod>,
    services: Informer<Service>,
    cancel: CancellationToken,
) {
    services.synced().await;
    manager.run(pods, cancel).await;
}

/// The service proxy: shares the agent's view of Services.
fn service_proxy(
    context: &Context,
    slices: Store<EndpointSlice>,
    sink: Arc<dyn RulesetSink>,
) -> ServiceProxy {
    let dns = context.config.cluster_dns.iter();
    let config = ServiceProxyConfig {
        node_name: context.config.node_name.clone(),
        cluster_cidr: context.config.cluster_cidr.parse().ok(),
        served_locally: dns.filter_map(|address| address.parse().ok()).collect(),
    };
    ServiceProxy::new(
        config,
        context.services.clone(),
        slices,
        sink,
        context.env.clone(),
    )
}

fn dns_server(context: &Context, slices: Store<EndpointSlice>) -> DnsServer {
    let config = DnsServerConfig::new(
        &context.config.cluster_dns,
        &context.config.cluster_domain,
        &context.dns.node.servers,
    );
    DnsServer::over(config, context.services.clone(), slices, context.env.clone())
}

async fn serve_dns(
    context: Arc<Context>,
    server: DnsServer,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    for address in context
        .config
        .cluster_dns
        .iter()
        .filter_map(|address| address.parse().ok())
    {
        DnsServer::claim_address(address).await?;
    }
    server.run(cancel).await.context("serving cluster DNS")
}

async fn forever(task: impl Future<Output = ()>) -> anyhow::Result<()> {
    task.await;
    Ok(())
}

/// A whole node on this machine: private containerd, Linux, agent. Runs in the network namespace that the
/// process was started in.
///
/// # Errors
/// When containerd cannot be started, or as [`NodeAgent::run`], boxed as that.
pub fn run_on_linux(
    config: NodeAgentConfig,
    env: Env,
    cancel: CancellationToken,
) -> BoxFuture<'static, anyhow::Result<()>> {
    Box::pin(live_on_linux(config, env, cancel))
}

async fn live_on_linux(config: NodeAgentConfig, env: Env, cancel: CancellationToken) -> anyhow::Result<()> {
    let containerd = Containerd::new(&config).context("configuring containerd")?;
    let runtime = Arc::new(CriRuntime::new(containerd.socket()));
    let host = Arc::new(LinuxHost::new(&config, &env));
    let agent = NodeAgent::new(config, env, runtime, host)
        .with_service_rules(Arc::new(Nft))
        .with_dns();
    // The runtime outlives the agent's work and is stopped after it.
    let supervised = CancellationToken::new();
    let supervisor = {
        let stop = supervised.clone();
        tokio::spawn(async move { containerd.supervise(stop, || ()).await })
    };
    let mut supervisor = supervisor;
    let result = tokio::select! {
        biased;
        ended = &mut supervisor => {
            return ended.context("containerd's supervisor ended")?.context("running containerd");
        }
        result = agent.run(cancel) => result,
    };
    supervised.cancel();
    supervisor
        .await
        .context("containerd's supervisor ended")?
        .context("stopping containerd")?;
    result
}
