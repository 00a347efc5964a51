//! The simulated processes: each a real component, made anew at every boot.

use crate::identities::{NODES, STORES, api_addresses, client_config, static_tokens};
use apiserver_server::{ApiServer, ApiServerConfig, FrontLimits, ServiceAccountConfig, StoreConfig};
use controllers::ControllerManager;
use kvstore_server::{ClusterPeer, DataDir, Member, MemberConfig};
use kvstore_storage::MemoryDisk;
use nodeagent_server::{FakeHost, FakeRuntime, NodeAgent, NodeAgentConfig};
use scheduler_server::{Scheduler, SchedulerConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::Env;
use tokio_util::sync::CancellationToken;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What an fsync takes.
const SYNC: Duration = Duration::from_millis(1);

pub(crate) async fn store(name: &str, disk: MemoryDisk, env: Env) -> Outcome {
    let initial_cluster = STORES
        .iter()
        .map(|name| ClusterPeer::new(*name, format!("http://{name}:2380")))
        .collect();
    let config = MemberConfig {
        peer_listen: Some(format!("{name}:2380")),
        initial_cluster,
        ..MemberConfig::single(name, DataDir::Simulated(disk, SYNC), &format!("{name}:2379"))
    };
    Member::new(config, env)?.run(CancellationToken::new()).await?;
    Ok(())
}

pub(crate) async fn api_server(name: &str, signing_key_pem: String, env: Env) -> Outcome {
    let config = ApiServerConfig {
        listen: vec![format!("{name}:6443")],
        advertise_address: turmoil::lookup(name).to_string(),
        advertise_port: None,
        serving: None,
        client_ca_pem: String::new(),
        store: StoreConfig {
            endpoints: STORES.iter().map(|store| format!("{store}:2379")).collect(),
            tls: None,
            encryption_key: None,
        },
        service_account: ServiceAccountConfig {
            signing_key_pem,
            issuer: "https://kubernetes.default.svc".to_owned(),
        },
        static_tokens: static_tokens(),
        service_cidr: "10.96.0.0/12".parse()?,
        node_ports: 30_000..=32_767,
        kubelet: None,
        limits: FrontLimits::default(),
    };
    ApiServer::new(config, env)?.run(CancellationToken::new()).await?;
    Ok(())
}

pub(crate) async fn scheduler(name: &str, env: Env) -> Outcome {
    let client = kubeclient::client(&env, &client_config(name))?;
    Scheduler::new(SchedulerConfig::new(client, name), env)
        .run(CancellationToken::new())
        .await;
    Ok(())
}

pub(crate) async fn controllers(name: &str, env: Env) -> Outcome {
    let config = controllers::Config {
        cluster_cidr: Some("10.244.0.0/16".to_owned()),
        root_ca_pem: Some("simulated".to_owned()),
        ..controllers::Config::new(client_config(name), name)
    };
    ControllerManager::new(config, env)?
        .run(CancellationToken::new())
        .await;
    Ok(())
}

/// The machine of a node: what outlives its agent.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) runtime: Arc<FakeRuntime>,
    host: Arc<FakeHost>,
}

impl Machine {
    pub(crate) fn new(number: usize) -> Self {
        let runtime = FakeRuntime::new(Arc::new(support::sim::SimClock), &format!("10.244.{number}"));
        Self {
            runtime: Arc::new(runtime),
            host: Arc::new(FakeHost::new(4, 8 << 30)),
        }
    }
}

pub(crate) async fn node_agent(name: &str, machine: Machine, env: Env) -> Outcome {
    let mut config = NodeAgentConfig::new(
        name,
        turmoil::lookup(name),
        PathBuf::from(format!("/var/lib/{name}")),
        PathBuf::from(format!("/run/{name}")),
    );
    config.api_servers = api_addresses();
    config.token = NODES.contains(&name).then(|| name.to_owned());
    config.listen = format!("{name}:10250");
    NodeAgent::new(config, env, machine.runtime, machine.host)
        .run(CancellationToken::new())
        .await?;
    Ok(())
}
