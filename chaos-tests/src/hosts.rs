//! The simulated machines: real components, made anew at every boot.

use crate::identities::{Directory, token};
use crate::topology::{Machine, Role};
use apiserver_server::{ApiServer, ApiServerConfig, FrontLimits, ServiceAccountConfig, StoreConfig};
use chaos_store::{Exit, Exits, Terminator};
use controllers::ControllerManager;
use kvstore_server::{ClusterPeer, DataDir, Member, MemberConfig};
use kvstore_storage::MemoryDisk;
use nodeagent_server::{FakeBehaviour, FakeHost, FakeRuntime, NodeAgent, NodeAgentConfig};
use scheduler_server::{Scheduler, SchedulerConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::Env;
use support::sim::{SimClock, Skew};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What an fsync takes.
const SYNC: Duration = Duration::from_millis(1);
/// What a container takes to end: less than the grace that users give it.
const STOP: Duration = Duration::from_millis(600);
/// A role that can't start now, because another on the machine doesn't answer yet, is started again after this.
const RESTART: Duration = Duration::from_millis(500);

/// All nodes together have as many at least: what three Deployments of five pods, while they are rolled out, and two
/// StatefulSets of three ask for at most.
const PROCESSORS: u32 = 8;
/// What a node has at least: few, so that not every pod fits everywhere.
const FEW_PROCESSORS: u32 = 4;

/// What a node is made of beside its agent, and what outlives it.
#[derive(Clone)]
pub(crate) struct NodeHardware {
    pub(crate) runtime: Arc<FakeRuntime>,
    host: Arc<FakeHost>,
    /// Of the whole machine's clock.
    pub(crate) skew: Skew,
    pub(crate) terminator: Terminator,
}

impl NodeHardware {
    /// The machine of that number in a cluster of so many nodes.
    pub(crate) fn new(number: usize, nodes: u32) -> Self {
        let skew = Skew::default();
        let runtime = FakeRuntime::new(Arc::new(SimClock::of(&skew)), &format!("10.244.{number}"));
        runtime.set_behaviour(FakeBehaviour {
            stop: STOP,
            ..FakeBehaviour::default()
        });
        Self {
            skew,
            terminator: Terminator::default(),
            runtime: Arc::new(runtime),
            host: Arc::new(FakeHost::new(
                PROCESSORS.div_ceil(nodes.max(1)).max(FEW_PROCESSORS),
                8 << 30,
            )),
        }
    }
}

/// Everything of a machine that outlives a boot.
#[derive(Clone)]
pub(crate) struct Hardware {
    pub(crate) machine: Machine,
    pub(crate) directory: Arc<Directory>,
    pub(crate) disk: MemoryDisk,
    pub(crate) node: NodeHardware,
    pub(crate) signing_key_pem: Arc<str>,
}

/// One boot of a machine: all its roles, until the power goes. A store that stops by itself says so in `exits`,
/// and takes the machine's process with it, as in an installation; as does the last role of a machine that was
/// asked to stop.
pub(crate) async fn live(hardware: Hardware, env: Env, exits: Exits) {
    let name = hardware.machine.name;
    let asked = hardware.node.terminator.boot();
    let mut roles = JoinSet::new();
    for role in hardware.machine.roles.clone() {
        let (hardware, env, asked) = (hardware.clone(), env.clone(), asked.clone());
        roles.spawn_local(async move {
            loop {
                let outcome = run(role, &hardware, env.clone(), asked.clone()).await;
                if asked.is_cancelled() {
                    return Exit::Asked;
                }
                if role == Role::Store {
                    return Exit::Own(match outcome {
                        Ok(()) => "without being asked".to_owned(),
                        Err(error) => format!("{error:#}"),
                    });
                }
                tracing::warn!(?role, ?outcome, "a role ended and is started again");
                tokio::time::sleep(RESTART).await;
            }
        });
    }
    while let Some(Ok(why)) = roles.join_next().await {
        if why != Exit::Asked || roles.is_empty() {
            exits.push(name, why);
            return;
        }
    }
}

async fn run(role: Role, hardware: &Hardware, env: Env, asked: CancellationToken) -> anyhow::Result<()> {
    match role {
        Role::Store => store(hardware, env, asked).await,
        Role::Api => api_server(hardware, env, asked).await,
        Role::Scheduler => scheduler(hardware, env, asked).await,
        Role::Controllers => controllers(hardware, env, asked).await,
        Role::Agent => node_agent(hardware, env, asked).await,
    }
}

async fn store(hardware: &Hardware, env: Env, asked: CancellationToken) -> anyhow::Result<()> {
    let name = hardware.machine.name;
    let peers = hardware.directory.stores.iter();
    let config = MemberConfig {
        peer_listen: Some(format!("{name}:2380")),
        initial_cluster: peers
            .map(|name| ClusterPeer::new(*name, format!("http://{name}:2380")))
            .collect(),
        ..MemberConfig::single(
            name,
            DataDir::Simulated(hardware.disk.clone(), SYNC),
            &format!("{name}:2379"),
        )
    };
    Member::new(config, env)?.run(asked).await?;
    Ok(())
}

async fn api_server(hardware: &Hardware, env: Env, asked: CancellationToken) -> anyhow::Result<()> {
    let name = hardware.machine.name;
    let config = ApiServerConfig {
        listen: vec![format!("{name}:6443")],
        advertise_address: turmoil::lookup(name).to_string(),
        advertise_port: None,
        serving: None,
        client_ca_pem: String::new(),
        store: StoreConfig {
            endpoints: hardware.directory.store_addresses(name),
            tls: None,
            encryption_key: None,
        },
        service_account: ServiceAccountConfig {
            signing_key_pem: hardware.signing_key_pem.to_string(),
            issuer: "https://kubernetes.default.svc".to_owned(),
        },
        static_tokens: hardware.directory.static_tokens(),
        service_cidr: "10.96.0.0/12".parse()?,
        node_ports: 30_000..=32_767,
        kubelet: None,
        limits: FrontLimits::default(),
    };
    ApiServer::new(config, env)?.run(asked).await
}

async fn scheduler(hardware: &Hardware, env: Env, asked: CancellationToken) -> anyhow::Result<()> {
    let name = hardware.machine.name;
    let config = hardware.directory.client_of(name, Role::Scheduler);
    let client = kubeclient::client(&env, &config)?;
    Scheduler::new(SchedulerConfig::new(client, name), env)
        .run(asked)
        .await;
    Ok(())
}

async fn controllers(hardware: &Hardware, env: Env, asked: CancellationToken) -> anyhow::Result<()> {
    let name = hardware.machine.name;
    let client = hardware.directory.client_of(name, Role::Controllers);
    let config = controllers::Config {
        cluster_cidr: Some("10.244.0.0/16".to_owned()),
        root_ca_pem: Some("simulated".to_owned()),
        ..controllers::Config::new(client, name)
    };
    ControllerManager::new(config, env)?.run(asked).await;
    Ok(())
}

async fn node_agent(hardware: &Hardware, env: Env, asked: CancellationToken) -> anyhow::Result<()> {
    let name = hardware.machine.name;
    let mut config = NodeAgentConfig::new(
        name,
        turmoil::lookup(name),
        PathBuf::from(format!("/var/lib/{name}")),
        PathBuf::from(format!("/run/{name}")),
    );
    config.api_servers = hardware.directory.api_addresses();
    config.token = Some(token(name, Role::Agent));
    config.listen = format!("{name}:10250");
    let node = hardware.node.clone();
    NodeAgent::new(config, env, node.runtime, node.host)
        .run(asked)
        .await?;
    Ok(())
}
