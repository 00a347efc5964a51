//! What a node agent is told about itself, the cluster and the machine.

use k8s_openapi::api::core::v1::Taint;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use support::tls::Identity;

#[derive(Debug, Clone)]
pub struct NodeAgentConfig {
    pub node_name: String,
    pub node_ip: IpAddr,
    /// `host:port` of each API server.
    pub api_servers: Vec<String>,
    /// The cluster's authority. `None` speaks plain HTTP in both directions, for simulations.
    pub ca_pem: Option<String>,
    /// How the node proves itself before it has a certificate of its own.
    pub bootstrap_token: Option<String>,
    /// A bearer token that speaks for the node, in simulations without certificates.
    pub token: Option<String>,
    /// A client certificate (`system:node:<name>`) given from outside; nothing is requested then.
    pub identity: Option<Identity>,
    /// What survives a reboot: certificates under `pki/`, pods, images, logs.
    pub data_dir: PathBuf,
    /// What does not: sockets, runtime state, network leases.
    pub run_dir: PathBuf,
    /// `host:port` of the HTTPS endpoints.
    pub listen: String,
    /// Common names and groups that may use the HTTPS endpoints; anyone else gets 403.
    pub allowed_names: Vec<String>,
    pub allowed_groups: Vec<String>,
    pub cluster_dns: Vec<String>,
    pub cluster_domain: String,
    /// Every pod of the cluster; what leaves it is masqueraded by the proxy.
    pub cluster_cidr: String,
    pub max_pods: u32,
    /// Of the node object, beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// Memory kept back from pods, in bytes.
    pub reserved_memory_bytes: i64,
    /// Processor time kept back from pods, in thousandths of a core.
    pub reserved_cpu_milli: i64,
    /// How often the node's Lease is renewed: a quarter of its duration (upstream's `nodeLeaseDurationSeconds`, there
    /// 40 s). Detection takes about four times this long, and 5,000 nodes make 1,667 small writes a second at 3 s, 500
    /// at upstream's 10 s.
    pub lease_renewal: Duration,
    /// How often the node's status is computed (`nodeStatusUpdateFrequency`); it is written when it changed or after 5 minutes.
    pub status_interval: Duration,
    /// How often the runtime is asked what became of its containers.
    pub observe_interval: Duration,
    /// How often ConfigMaps, Secrets and tokens in volumes are brought up to date.
    pub volume_refresh: Duration,
    /// Nodes of one machine share its cgroup tree: absolute, and apart for each.
    pub cgroup_root: String,
    pub containerd: ContainerdConfig,
}

/// The private container runtime.
#[derive(Debug, Clone)]
pub struct ContainerdConfig {
    pub program: PathBuf,
    pub cni_bin_dir: PathBuf,
    /// The image that holds a pod's namespaces; never pulled.
    pub pause_image: String,
    /// Host of an image name (`docker.io`, or `_default`) → base address of its mirror.
    pub registry_mirrors: BTreeMap<String, String>,
}

impl NodeAgentConfig {
    pub fn new(node_name: &str, node_ip: IpAddr, data_dir: PathBuf, run_dir: PathBuf) -> Self {
        Self {
            node_name: node_name.to_owned(),
            node_ip,
            api_servers: vec!["127.0.0.1:6443".to_owned()],
            ca_pem: None,
            bootstrap_token: None,
            token: None,
            identity: None,
            data_dir,
            run_dir,
            listen: format!("{}:10250", bracketed(node_ip)),
            allowed_names: vec!["kube-apiserver-kubelet-client".to_owned()],
            allowed_groups: vec!["system:masters".to_owned()],
            cluster_dns: vec!["10.96.0.10".to_owned()],
            cluster_domain: "cluster.local".to_owned(),
            cluster_cidr: "10.244.0.0/16".to_owned(),
            max_pods: 110,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            reserved_memory_bytes: 100 << 20,
            reserved_cpu_milli: 0,
            lease_renewal: Duration::from_secs(3),
            status_interval: Duration::from_secs(5),
            observe_interval: Duration::from_secs(1),
            volume_refresh: Duration::from_secs(20),
            cgroup_root: format!("/trireme-{node_name}"),
            containerd: ContainerdConfig::default(),
        }
    }

    pub fn pki_dir(&self) -> PathBuf {
        self.data_dir.join("pki")
    }

    pub fn pods_dir(&self) -> PathBuf {
        self.data_dir.join("pods")
    }

    pub fn logs_dir(&self) -> PathBuf {
        self.data_dir.join("logs")
    }

    /// Where the private runtime serves the CRI.
    pub fn runtime_socket(&self) -> PathBuf {
        self.run_dir.join("containerd.sock")
    }
}

impl Default for ContainerdConfig {
    fn default() -> Self {
        Self {
            program: PathBuf::from("containerd"),
            cni_bin_dir: PathBuf::from("/usr/lib/cni"),
            pause_image: "localhost/trireme/pause:1".to_owned(),
            registry_mirrors: BTreeMap::new(),
        }
    }
}

fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
