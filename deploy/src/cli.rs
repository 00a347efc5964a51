//! The command line.

use crate::profile;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// A highly available Kubernetes control plane, its node agents and its store.
#[derive(Debug, Parser)]
#[command(name = "trireme", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a local cluster, making it first when there is none
    Up(Up),
    /// Start a stopped local cluster
    Start(Selected),
    /// Stop a local cluster; its state stays
    Stop(Selected),
    /// Say how a local cluster is; ends with 0 when healthy, 3 when stopped, 4 when unhealthy, 5 when absent
    Status(Status),
    /// Stop a local cluster and remove everything it has stored
    Delete(Selected),
    /// Show what the processes of a local cluster have logged
    Logs(Logs),
    /// Show where a Service answers
    Service(Service),
    /// Images in the nodes of a local cluster
    #[command(subcommand)]
    Image(Image),
    /// Nodes of a local cluster
    #[command(subcommand)]
    Node(Node),
    /// Local clusters on this machine
    #[command(subcommand)]
    Profile(Profile),
    /// Tokens with which nodes join
    #[command(subcommand)]
    Token(Token),
    /// Make the keys and certificates of a cluster, and a kubeconfig, for roles that are run by hand
    Keys(MakeKeys),
    /// Run a whole control plane: store, API server, scheduler, controllers
    Server(Server),
    /// Run a store member, which speaks etcd v3 and takes etcd's flags
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Kvstore(Kvstore),
    /// Run an API server
    Apiserver(ApiServer),
    /// Run a scheduler
    Scheduler(ApiClient),
    /// Run the controllers
    Controllers(Controllers),
    /// Run a node agent
    Agent(Agent),
    /// Give several API servers one address, for kubectl and others that know only one
    Balancer(Balancer),
}

/// Which local cluster.
#[derive(Debug, Clone, Args)]
pub struct Selected {
    /// Name of the local cluster
    #[arg(short, long, default_value = profile::DEFAULT, env = "TRIREME_PROFILE")]
    pub profile: String,
}

#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub selected: Selected,
    /// Number of nodes; an existing cluster grows to it, and never shrinks [default: 1]
    #[arg(short, long, value_parser = clap::value_parser!(u8).range(1..=i64::from(profile::MAX_NODES)))]
    pub nodes: Option<u8>,
    /// `REGISTRY=URL`: nodes pull the images of a registry from there; `_default` stands for all others; repeat it
    #[arg(long = "registry-mirror", value_name = "REGISTRY=URL")]
    pub registry_mirrors: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub selected: Selected,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    pub selected: Selected,
    /// `control-plane` or a node's name; all of them when none is given
    pub component: Option<String>,
    /// Go on as lines are written
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines to begin with
    #[arg(long, default_value_t = 50)]
    pub tail: usize,
}

#[derive(Debug, Args)]
pub struct Service {
    #[command(flatten)]
    pub selected: Selected,
    /// The Service, of type NodePort or LoadBalancer
    pub name: String,
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Print nothing but the URLs, one line a port
    #[arg(long)]
    pub url: bool,
    /// How many seconds to wait for an endpoint that is ready
    #[arg(long, default_value_t = 30)]
    pub wait: u64,
}

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Load an image archive (OCI layout or `docker save`) into every node; `-` reads standard input
    Load {
        #[command(flatten)]
        selected: Selected,
        archive: PathBuf,
    },
    /// List every node's images
    List {
        #[command(flatten)]
        selected: Selected,
    },
}

#[derive(Debug, Subcommand)]
pub enum Node {
    /// List the nodes and their addresses
    List {
        #[command(flatten)]
        selected: Selected,
    },
    /// Add one node
    Add {
        #[command(flatten)]
        selected: Selected,
    },
    /// Remove a node; its pods are replaced elsewhere
    Remove {
        #[command(flatten)]
        selected: Selected,
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Profile {
    /// List the local clusters
    List,
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token with which nodes can join for a while
    Create {
        #[command(flatten)]
        selected: Selected,
        /// How many hours it is good for
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
}

/// Keys and certificates.
#[derive(Debug, Clone, Args)]
pub struct Keys {
    /// Folder with the cluster's keys and certificates
    #[arg(long, value_name = "FOLDER")]
    pub pki: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct MakeKeys {
    #[command(flatten)]
    pub keys: Keys,
    /// Address of an API server or a store member; repeat it
    #[arg(long = "address", required = true)]
    pub addresses: Vec<std::net::IpAddr>,
}

#[derive(Debug, Clone, Args)]
pub struct Server {
    #[command(flatten)]
    pub keys: Keys,
    /// Address at which clients and nodes reach this server
    #[arg(long)]
    pub address: std::net::IpAddr,
    /// Folder of the store
    #[arg(long, value_name = "FOLDER")]
    pub data: PathBuf,
    /// Name of this server's store member, one of `--member`
    #[arg(long, default_value = "member-1")]
    pub name: String,
    /// `name=address` of every server, this one's included, when there are several; repeat it
    #[arg(long = "member", value_name = "NAME=ADDRESS")]
    pub members: Vec<String>,
    #[command(flatten)]
    pub network: ClusterNetwork,
    #[command(flatten)]
    pub tolerations: Tolerations,
    #[command(flatten)]
    pub monitoring: NodeMonitoring,
}

/// Addresses of the cluster; the same for every API server and node.
#[derive(Debug, Clone, Args)]
pub struct ClusterNetwork {
    /// Addresses of Services; the first is the API server's, the tenth the DNS's
    #[arg(long, default_value = "10.96.0.0/16")]
    pub service_cidr: ipnet::Ipv4Net,
    /// Addresses of pods, a /24 of which each node gets
    #[arg(long, default_value = "10.244.0.0/16")]
    pub pod_cidr: ipnet::Ipv4Net,
}

/// How long pods that don't say so themselves stay on a failing node; the same for every API server.
#[derive(Debug, Clone, Args)]
pub struct Tolerations {
    /// Seconds that pods stay on a node that says it isn't ready [upstream: 300]
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(i64).range(0..))]
    pub default_not_ready_toleration_seconds: i64,
    /// Seconds that pods stay on a node after it was found to be silent [upstream: 300]
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(i64).range(0..))]
    pub default_unreachable_toleration_seconds: i64,
}

/// When a node counts as lost, and how many may be given up at once.
#[derive(Debug, Clone, Args)]
pub struct NodeMonitoring {
    /// How often all nodes are looked at [upstream: 5s]
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub node_monitor_period: Duration,
    /// How long a node may be silent; some times its agent's lease renewal [upstream: 50s]
    #[arg(long, value_name = "DURATION", default_value = "12s", value_parser = duration)]
    pub node_monitor_grace_period: Duration,
    /// How long a new node may be silent [upstream: 1m]
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub node_startup_grace_period: Duration,
    /// Nodes a second that may lose their pods in a healthy zone
    #[arg(long, value_name = "RATE", default_value_t = 0.1)]
    pub node_eviction_rate: f64,
    /// The same in an unhealthy zone
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    pub secondary_node_eviction_rate: f64,
    /// Unhealthy zones with no more nodes than this give up none
    #[arg(long, value_name = "NODES", default_value_t = 50)]
    pub large_cluster_size_threshold: usize,
    /// The share of lost nodes that makes a zone unhealthy
    #[arg(long, value_name = "SHARE", default_value_t = 0.55)]
    pub unhealthy_zone_threshold: f64,
}

/// What the store reads by itself, as etcd does.
#[derive(Debug, Clone, Args)]
pub struct Kvstore {
    /// etcd's flags, which `trireme kvstore --help` lists
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    pub arguments: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct ApiServer {
    #[command(flatten)]
    pub keys: Keys,
    /// `host:port` to listen on; repeat it for more
    #[arg(long, default_value = "0.0.0.0:6443")]
    pub listen: Vec<String>,
    /// Address at which clients and nodes reach this server
    #[arg(long)]
    pub address: std::net::IpAddr,
    /// `host:port` of every store member; repeat it
    #[arg(long = "store", default_value = "127.0.0.1:2379")]
    pub stores: Vec<String>,
    /// Talk to the store without TLS: for a stock etcd on loopback
    #[arg(long)]
    pub plain_store: bool,
    #[command(flatten)]
    pub network: ClusterNetwork,
    #[command(flatten)]
    pub tolerations: Tolerations,
}

/// A component that works through the API.
#[derive(Debug, Clone, Args)]
pub struct ApiClient {
    #[command(flatten)]
    pub keys: Keys,
    /// `host:port` of every API server; repeat it
    #[arg(long = "server", default_value = "127.0.0.1:6443")]
    pub servers: Vec<String>,
    #[command(flatten)]
    pub network: ClusterNetwork,
}

/// The controllers.
#[derive(Debug, Clone, Args)]
pub struct Controllers {
    #[command(flatten)]
    pub client: ApiClient,
    #[command(flatten)]
    pub monitoring: NodeMonitoring,
}

#[derive(Debug, Clone, Args)]
pub struct Agent {
    /// The node's name
    #[arg(long)]
    pub name: String,
    /// The node's address
    #[arg(long)]
    pub address: std::net::IpAddr,
    /// `host:port` of every API server; repeat it
    #[arg(long = "server", required = true)]
    pub servers: Vec<String>,
    /// Certificate of the cluster's authority
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// File with a token to join with; read only while the node has no certificate of its own
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Folder for what survives a reboot: images, pods, certificates
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/trireme-agent")]
    pub data: PathBuf,
    /// Folder for sockets and the runtime's state
    #[arg(long, value_name = "FOLDER", default_value = "/run/trireme-agent")]
    pub run: PathBuf,
    /// `REGISTRY=URL`: pull the images of a registry from there; `_default` stands for all others; repeat it
    #[arg(long = "registry-mirror", value_name = "REGISTRY=URL")]
    pub registry_mirrors: Vec<String>,
    /// Seconds after which the node's lease ends unless it's renewed, which is done four times as often [upstream: 40]
    #[arg(long, value_name = "SECONDS", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub node_lease_duration_seconds: u32,
    /// How often the node's status is computed; it's written when it changed, or after 5 minutes [upstream: 10s]
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub node_status_update_frequency: Duration,
    #[command(flatten)]
    pub network: ClusterNetwork,
}

#[derive(Debug, Clone, Args)]
pub struct Balancer {
    /// `host:port` to listen on
    #[arg(long, default_value = "127.0.0.1:6443")]
    pub listen: String,
    /// `host:port` of every API server; repeat it
    #[arg(long = "server", required = true)]
    pub servers: Vec<String>,
    /// Certificate of the cluster's authority
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
}

/// A duration as upstream's flags have it: `12s`, `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let duration: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be longer than nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command};
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_behind_kvstore_is_left_to_the_store() {
        let arguments = ["--name=m1", "-version", "--help", "-V", "word", "--pki"];
        let parsed = Cli::try_parse_from(["trireme", "kvstore"].into_iter().chain(arguments));
        let Command::Kvstore(options) = parsed.expect("anything goes").command else {
            panic!("another command");
        };
        assert_eq!(options.arguments, arguments);
    }
}
