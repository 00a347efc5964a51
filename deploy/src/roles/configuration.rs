//! From flags and the key folder to the components' configurations.

use crate::cli::{
    Agent, ApiClient, ApiServer, ClusterNetwork, Controllers, NodeMonitoring, Server, Tolerations,
};
use crate::files;
use crate::pki::{Holder, Pki};
use anyhow::Context as _;
use apiserver_server::{
    ApiServerConfig, DefaultTolerations, FrontLimits, KubeletConfig, ServiceAccountConfig, StoreConfig,
};
use controllers::{NodeConfig, SigningConfig};
use kubeclient::{ClientConfig, Credentials};
use kvstore_cli::Surroundings;
use kvstore_server::MemberConfig;
use nodeagent_server::NodeAgentConfig;
use scheduler_server::SchedulerConfig;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use support::Env;
use support::tls::ClientTls;

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
const API_PORT: u16 = 6443;
/// Tells the stores of control planes from others.
const STORE_TOKEN: &str = "trireme";
/// `--service-node-port-range` of upstream.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// `--cluster-signing-duration` of upstream.
const SIGNING_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);
/// Renewals of a node's lease in its duration, as upstream has it.
const LEASE_RENEWALS: u32 = 4;
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

impl ClusterNetwork {
    /// The tenth address of the Services' is the DNS's, as kubeadm has it.
    fn dns(&self) -> anyhow::Result<Ipv4Addr> {
        self.service_cidr
            .hosts()
            .nth(9)
            .context("--service-cidr has fewer than ten addresses")
    }
}

impl Server {
    /// The flags of its store member.
    fn store_flags(&self) -> Vec<String> {
        let (client, peer) = (
            format!("https://{}", SocketAddr::new(self.address, CLIENT_PORT)),
            format!("https://{}", SocketAddr::new(self.address, PEER_PORT)),
        );
        let members: Vec<String> = self
            .all_members()
            .iter()
            .map(|(name, address)| format!("{name}=https://{address}:{PEER_PORT}"))
            .collect();
        let flag = |name: &str, value: &str| format!("--{name}={value}");
        vec![
            flag("pki", &self.keys.pki.to_string_lossy()),
            flag("name", &self.name),
            flag("data-dir", &self.data.to_string_lossy()),
            flag("listen-client-urls", &client),
            flag("advertise-client-urls", &client),
            flag("listen-peer-urls", &peer),
            flag("initial-advertise-peer-urls", &peer),
            flag("initial-cluster", &members.join(",")),
            flag("initial-cluster-token", STORE_TOKEN),
        ]
    }

    /// Its API server asks the member of its own process first: the loss of another machine is none of its business.
    pub fn apiserver(&self) -> ApiServer {
        let mut members = self.all_members();
        members.sort_by_key(|(name, _)| *name != self.name);
        ApiServer {
            keys: self.keys.clone(),
            listen: vec![format!("0.0.0.0:{API_PORT}")],
            address: self.address,
            stores: members
                .iter()
                .map(|(_, address)| format!("{address}:{CLIENT_PORT}"))
                .collect(),
            plain_store: false,
            network: self.network.clone(),
            tolerations: self.tolerations.clone(),
        }
    }

    /// Scheduler and controllers use the API server of their own process: both live and die together.
    pub fn api_client(&self) -> ApiClient {
        ApiClient {
            keys: self.keys.clone(),
            servers: vec![format!("{}:{API_PORT}", self.address)],
            network: self.network.clone(),
        }
    }

    pub fn controllers(&self) -> Controllers {
        Controllers {
            client: self.api_client(),
            monitoring: self.monitoring.clone(),
        }
    }

    /// Name and address of every server; this one alone when none is named.
    fn all_members(&self) -> Vec<(String, String)> {
        if self.members.is_empty() {
            return vec![(self.name.clone(), self.address.to_string())];
        }
        // Without `=` the member is refused later, with the flag's name.
        let split = |member: &String| {
            let (name, address) = member.split_once('=').unwrap_or((member, ""));
            (name.to_owned(), address.to_owned())
        };
        self.members.iter().map(split).collect()
    }
}

impl Tolerations {
    pub fn defaults(&self) -> DefaultTolerations {
        DefaultTolerations {
            not_ready_seconds: self.default_not_ready_toleration_seconds,
            unreachable_seconds: self.default_unreachable_toleration_seconds,
        }
    }
}

impl NodeMonitoring {
    fn config(&self) -> anyhow::Result<NodeConfig> {
        Ok(NodeConfig {
            monitor_period: self.node_monitor_period,
            monitor_grace_period: self.node_monitor_grace_period.try_into()?,
            startup_grace_period: self.node_startup_grace_period.try_into()?,
            eviction_rate: self.node_eviction_rate,
            secondary_eviction_rate: self.secondary_node_eviction_rate,
            large_cluster_size_threshold: self.large_cluster_size_threshold,
            unhealthy_zone_threshold: self.unhealthy_zone_threshold,
        })
    }
}

/// The store member of a server: the same as `trireme kvstore` with these flags.
pub fn member(options: &Server) -> anyhow::Result<MemberConfig> {
    let store = kvstore_cli::options(&options.store_flags(), &Surroundings::default())?;
    Ok(store.member(&Env::production())?)
}

pub fn apiserver(options: &ApiServer) -> anyhow::Result<ApiServerConfig> {
    let pki = Pki::new(&options.keys.pki);
    let ca_pem = pki.ca()?;
    let tls = if options.plain_store {
        None
    } else {
        Some(ClientTls::new(
            &pki.store_ca()?,
            Some(&pki.identity(Holder::StoreClient)?),
        )?)
    };
    Ok(ApiServerConfig {
        listen: options.listen.clone(),
        advertise_address: options.address.to_string(),
        advertise_port: None,
        serving: Some(pki.identity(Holder::ApiServer)?),
        static_tokens: BTreeMap::new(),
        client_ca_pem: ca_pem.clone(),
        store: StoreConfig {
            endpoints: options.stores.clone(),
            tls,
            encryption_key: Some(pki.encryption_key()?),
        },
        service_account: ServiceAccountConfig {
            signing_key_pem: pki.account_key()?,
            issuer: ISSUER.to_owned(),
        },
        service_cidr: options.network.service_cidr,
        node_ports: NODE_PORTS,
        kubelet: Some(KubeletConfig {
            client: pki.identity(Holder::KubeletClient)?,
            ca_pem,
        }),
        limits: FrontLimits::default(),
    })
}

pub fn scheduler(options: &ApiClient, env: &Env) -> anyhow::Result<SchedulerConfig> {
    let client = client(&Pki::new(&options.keys.pki), &options.servers, Holder::Scheduler)?;
    Ok(SchedulerConfig::new(
        kubeclient::client(env, &client)?,
        &candidate(),
    ))
}

pub fn controllers(options: &Controllers) -> anyhow::Result<controllers::Config> {
    let node = options.monitoring.config()?;
    let options = &options.client;
    let pki = Pki::new(&options.keys.pki);
    let ca_pem = pki.ca()?;
    let client = client(&pki, &options.servers, Holder::ControllerManager)?;
    let mut config = controllers::Config::new(client, &candidate());
    config.cluster_cidr = Some(options.network.pod_cidr.to_string());
    config.node = node;
    config.root_ca_pem = Some(ca_pem.clone());
    config.signing = Some(SigningConfig {
        cert_pem: ca_pem,
        key_pem: pki.ca_key()?,
        duration: SIGNING_DURATION,
    });
    Ok(config)
}

pub fn agent(options: &Agent) -> anyhow::Result<NodeAgentConfig> {
    let mut config = NodeAgentConfig::new(
        &options.name,
        options.address,
        options.data.clone(),
        options.run.clone(),
    );
    config.api_servers = options.servers.clone();
    config.ca_pem = Some(files::read(&options.ca)?);
    if let Some(file) = &options.token_file
        && file.exists()
    {
        config.bootstrap_token = Some(files::read(file)?.trim().to_owned());
    }
    for mirror in &options.registry_mirrors {
        let (registry, url) = mirror
            .split_once('=')
            .with_context(|| format!("--registry-mirror {mirror}: not REGISTRY=URL"))?;
        config
            .containerd
            .registry_mirrors
            .insert(registry.to_owned(), url.to_owned());
    }
    config.lease_renewal = Duration::from_secs(options.node_lease_duration_seconds.into()) / LEASE_RENEWALS;
    config.status_interval = options.node_status_update_frequency;
    config.cluster_dns = vec![options.network.dns()?.to_string()];
    config.cluster_cidr = options.network.pod_cidr.to_string();
    Ok(config)
}

fn client(pki: &Pki, servers: &[String], holder: Holder) -> anyhow::Result<ClientConfig> {
    Ok(ClientConfig {
        servers: servers.to_vec(),
        ca_pem: Some(pki.ca()?),
        credentials: Credentials::Certificate(pki.identity(holder)?),
        user_agent: concat!("trireme/", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

/// How this process calls itself in elections; the election makes it unique.
fn candidate() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use apiserver_server::DefaultTolerations;
    use clap::Parser as _;
    use controllers::NodeConfig;
    use nodeagent_server::NodeAgentConfig;
    use std::time::Duration;

    fn parse(line: &str) -> Command {
        Cli::try_parse_from(line.split(' ')).expect("a good line").command
    }

    #[test]
    fn without_flags_nodes_are_lost_as_the_components_say() {
        let Command::Server(server) = parse("trireme server --pki /p --address 10.0.0.1 --data /d") else {
            panic!("another command");
        };
        assert_eq!(server.tolerations.defaults(), DefaultTolerations::default());
        let node = server.monitoring.config().expect("good");
        assert_eq!(format!("{node:?}"), format!("{:?}", NodeConfig::default()));
        let Command::Agent(agent) =
            parse("trireme agent --name n --address 10.0.0.2 --server 10.0.0.1:6443 --ca Cargo.toml")
        else {
            panic!("another command");
        };
        let config = super::agent(&agent).expect("good");
        let defaults = NodeAgentConfig::new("n", agent.address, agent.data, agent.run);
        assert_eq!(config.lease_renewal, defaults.lease_renewal);
        assert_eq!(config.status_interval, defaults.status_interval);
    }

    /// Promise of the defaults: with a second for everything else, replacements are bound after 20 s.
    #[test]
    fn a_lost_nodes_pods_are_replaced_in_less_than_twenty_seconds_by_default() {
        let node = NodeConfig::default();
        let tolerated = DefaultTolerations::default().unreachable_seconds.unsigned_abs();
        let grace = Duration::try_from(node.monitor_grace_period).expect("positive");
        let sum = grace + node.monitor_period + Duration::from_secs(tolerated);
        assert!(sum <= Duration::from_secs(19), "{sum:?}");
    }

    /// Found with real processes: all asked the first, and waited for it together when its machine was cut off.
    #[test]
    fn every_api_server_asks_its_own_member_first() {
        let line = "trireme server --pki /p --data /d --address 10.0.0.2 --name b";
        let members = "--member a=10.0.0.1 --member b=10.0.0.2 --member c=10.0.0.3";
        let Command::Server(server) = parse(&format!("{line} {members}")) else {
            panic!("another command");
        };
        let stores = server.apiserver().stores;
        assert_eq!(stores, ["10.0.0.2:2379", "10.0.0.1:2379", "10.0.0.3:2379"]);
    }

    #[test]
    fn upstreams_figures_can_be_had() {
        let Command::Controllers(controllers) =
            parse("trireme controllers --pki /p --node-monitor-period 5s --node-monitor-grace-period 50s")
        else {
            panic!("another command");
        };
        let node = controllers.monitoring.config().expect("good");
        assert_eq!(node.monitor_grace_period.as_secs(), 50);
        assert_eq!(node.monitor_period, Duration::from_secs(5));
        let refused = Cli::try_parse_from(["trireme", "controllers", "--node-monitor-grace-period=0s"]);
        assert!(refused.is_err());
    }
}
