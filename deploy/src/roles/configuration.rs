//! From flags and the key folder to the components' configurations.

use crate::cli::{Agent, ApiClient, ApiServer, ClusterNetwork, Kvstore, Server};
use crate::files;
use crate::pki::{Holder, Pki};
use anyhow::{Context as _, ensure};
use apiserver_server::{ApiServerConfig, FrontLimits, KubeletConfig, ServiceAccountConfig, StoreConfig};
use controllers::SigningConfig;
use kubeclient::{ClientConfig, Credentials};
use kvstore_server::{ClusterPeer, DataDir, MemberConfig, PeerTls};
use kvstore_storage::RocksOptions;
use nodeagent_server::NodeAgentConfig;
use scheduler_server::SchedulerConfig;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use support::Env;
use support::tls::{ClientTls, ServerTls};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
const API_PORT: u16 = 6443;
/// `--service-node-port-range` of upstream.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// `--cluster-signing-duration` of upstream.
const SIGNING_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);
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
    pub fn kvstore(&self) -> Kvstore {
        let members = self.all_members();
        Kvstore {
            keys: self.keys.clone(),
            name: self.name.clone(),
            data: self.data.clone(),
            listen_client: format!("{}:{CLIENT_PORT}", self.address),
            listen_peer: format!("{}:{PEER_PORT}", self.address),
            members: members
                .iter()
                .map(|(name, address)| format!("{name}={address}:{PEER_PORT}"))
                .collect(),
        }
    }

    pub fn apiserver(&self) -> ApiServer {
        let members = self.all_members();
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

pub fn member(options: &Kvstore) -> anyhow::Result<MemberConfig> {
    let pki = Pki::new(&options.keys.pki);
    let (ca, identity) = (pki.store_ca()?, pki.identity(Holder::StoreMember)?);
    let mut initial_cluster = Vec::new();
    for member in &options.members {
        let (name, address) = member
            .split_once('=')
            .with_context(|| format!("--member {member}: not name=host:port"))?;
        initial_cluster.push(ClusterPeer::new(name, format!("https://{address}")));
    }
    ensure!(
        initial_cluster.iter().any(|member| member.name == options.name),
        "--name {} is none of the members",
        options.name
    );
    let data = DataDir::Directory(options.data.clone(), RocksOptions::default());
    Ok(MemberConfig {
        client_advertise: vec![format!("https://{}", options.listen_client)],
        client_tls: Some(ServerTls::new(&identity, Some(&ca), true)?),
        peer_listen: Some(options.listen_peer.clone()),
        peer_tls: Some(PeerTls {
            server: ServerTls::new(&identity, Some(&ca), true)?,
            client: ClientTls::new(&ca, Some(&identity))?,
        }),
        initial_cluster,
        ..MemberConfig::single(&options.name, data, &options.listen_client)
    })
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

pub fn controllers(options: &ApiClient) -> anyhow::Result<controllers::Config> {
    let pki = Pki::new(&options.keys.pki);
    let ca_pem = pki.ca()?;
    let client = client(&pki, &options.servers, Holder::ControllerManager)?;
    let mut config = controllers::Config::new(client, &candidate());
    config.cluster_cidr = Some(options.network.pod_cidr.to_string());
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
