//! What a member needs to know before it starts.

mod listener;
mod upkeep;

pub use listener::{ClientListener, ConnectionLimits, ListenerSecurity, PeerListener, Serves};
pub use upkeep::{AutoCompaction, CompactionPace, CorruptCheck};

use kvstore_storage::{MemoryDisk, RocksOptions};
use std::path::PathBuf;
use std::time::Duration;
use support::tls::{ClientTls, ServerTls};

/// Where a member keeps its state.
#[derive(Clone)]
pub enum DataDir {
    /// A RocksDB database in this directory.
    Directory(PathBuf, RocksOptions),
    /// A simulated disk, held by the caller so that it outlives the member; syncs take this long.
    Simulated(MemoryDisk, Duration),
}

/// One member of the initial cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPeer {
    pub name: String,
    /// Where members reach its peer listener: `http://host:port` or `https://host:port`, in any order.
    pub peer_urls: Vec<String>,
}

impl ClusterPeer {
    /// A member with one peer URL.
    pub fn new(name: impl Into<String>, peer_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            peer_urls: vec![peer_url.into()],
        }
    }
}

/// Whether the initial cluster is yet to be made (etcd `--initial-cluster-state`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InitialState {
    /// All of the initial cluster start it together. A member whose folder was lost finds its cluster
    /// running, and joins it again.
    #[default]
    New,
    /// The cluster runs already, and has been told to add this member.
    Existing,
}

/// Mutual TLS between members.
#[derive(Clone)]
pub struct PeerTls {
    /// Must require client certificates.
    pub server: ServerTls,
    pub client: ClientTls,
}

/// Where a member answers plain HTTP only: metrics and health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsListener {
    /// `host:port`.
    pub address: String,
    /// Whether with the clients' TLS; ignored without [`MemberConfig::client_tls`].
    pub tls: bool,
}

/// A member's configuration.
#[derive(Clone)]
pub struct MemberConfig {
    /// How `member list` calls this member; finds it in the initial cluster.
    pub name: String,
    pub cluster_token: String,
    pub data_dir: DataDir,
    /// `host:port` to serve clients on, with TLS when there is any.
    pub client_listen: Vec<String>,
    /// Further addresses for clients, each with a say in how it is served.
    pub client_listeners: Vec<ClientListener>,
    pub client_limits: ConnectionLimits,
    /// URLs under which clients reach this member, as in `member list`.
    pub client_advertise: Vec<String>,
    pub client_tls: Option<ServerTls>,
    /// Further listeners for `/metrics` and the health checks; the client listeners answer them too.
    pub metrics_listen: Vec<MetricsListener>,
    /// Whether the metrics tell the time of gRPC calls too (etcd `--metrics=extensive`).
    pub extensive_metrics: bool,
    /// Whether clients may speak JSON under `/v3/` (etcd `--enable-grpc-gateway`).
    pub enable_grpc_gateway: bool,
    /// Origins that browsers may call from; `*` is any (etcd `--cors`).
    pub cors: Vec<String>,
    /// Values of `Host` that plain HTTP without TLS is answered for; `*` is any (etcd `--host-whitelist`).
    pub host_whitelist: Vec<String>,
    /// `host:port` to serve members on; not listened on by a cluster of one without it.
    pub peer_listen: Option<String>,
    /// Further addresses for members.
    pub peer_listeners: Vec<PeerListener>,
    pub peer_tls: Option<PeerTls>,
    /// URLs under which members reach this one (etcd `--initial-advertise-peer-urls`); empty: those that the
    /// initial cluster gives it.
    pub peer_advertise: Vec<String>,
    /// All members of the cluster that this one starts or joins, this one included. Not looked at any more
    /// once the data folder holds a member.
    pub initial_cluster: Vec<ClusterPeer>,
    pub initial_state: InitialState,
    /// Makes this member the only one of its cluster, with the data that it has: the way back when most
    /// members are lost for good. For one start only.
    pub force_new_cluster: bool,
    /// Whether changes of the membership are refused that would put the quorum at risk.
    pub strict_reconfig: bool,
    /// Learners that the cluster may have at once.
    pub max_learners: usize,
    /// How long the leader must have been hearing from a voter, for it to be counted on in such changes (etcd
    /// `HealthInterval`, 5 s); zero: it need only answer now.
    pub health_interval: Duration,
    pub heartbeat: Duration,
    /// A leader's lease lasts `election_max` after its last sign of life; then an election starts after a
    /// random time in this range. So a dead leader is replaced in the sum of both. A wide range makes the first of
    /// several members early, and two at once rare.
    pub election_min: Duration,
    pub election_max: Duration,
    /// Applied entries after which the log is cut; as many are kept for members that lag.
    pub snapshot_entries: u64,
    /// Operations in one transaction.
    pub max_txn_ops: usize,
    /// Bytes of one client request.
    pub max_request_bytes: usize,
    /// Unary requests that take longer are logged (etcd `--warning-unary-request-duration`); zero: none.
    pub slow_request: Duration,
    /// How often an idle watcher that asked for it hears of the revision.
    pub progress_interval: Duration,
    /// What tokens clients are given: `simple`, or `jwt,sign-method=…,priv-key=…,pub-key=…,ttl=…` as etcd's
    /// `--auth-token`; empty for none.
    pub auth_token: String,
    /// How long a simple token lives after its last use.
    pub auth_token_ttl: Duration,
    /// Strength of the hashes of passwords, 4 to 31; others mean the default.
    pub bcrypt_cost: u32,
    /// Clients without a token are who their certificate's common name says.
    pub client_cert_auth: bool,
    /// Bytes of kept versions from which on the store takes no more of them (etcd
    /// `--quota-backend-bytes`); 0: no bound. Off by default: nothing here degrades at a certain size, as
    /// etcd's database file does.
    pub quota_bytes: u64,
    pub auto_compaction: AutoCompaction,
    pub compaction_pace: CompactionPace,
    pub corrupt_check: CorruptCheck,
}

impl MemberConfig {
    /// A cluster of one that serves clients without TLS on `client_listen`.
    pub fn single(name: &str, data_dir: DataDir, client_listen: &str) -> Self {
        Self {
            name: name.to_owned(),
            cluster_token: "trireme".to_owned(),
            data_dir,
            client_listen: vec![client_listen.to_owned()],
            client_listeners: Vec::new(),
            client_limits: ConnectionLimits::default(),
            client_advertise: vec![format!("http://{client_listen}")],
            client_tls: None,
            metrics_listen: Vec::new(),
            extensive_metrics: false,
            enable_grpc_gateway: true,
            cors: vec!["*".to_owned()],
            host_whitelist: vec!["*".to_owned()],
            peer_listen: None,
            peer_listeners: Vec::new(),
            peer_tls: None,
            peer_advertise: Vec::new(),
            initial_cluster: vec![ClusterPeer {
                name: name.to_owned(),
                peer_urls: Vec::new(),
            }],
            initial_state: InitialState::New,
            force_new_cluster: false,
            strict_reconfig: true,
            max_learners: 1,
            health_interval: Duration::ZERO,
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(60),
            election_max: Duration::from_millis(250),
            snapshot_entries: 5_000,
            max_txn_ops: 128,
            max_request_bytes: 3 << 19,
            slow_request: Duration::ZERO,
            progress_interval: Duration::from_secs(600),
            auth_token: "simple".to_owned(),
            auth_token_ttl: Duration::from_secs(300),
            bcrypt_cost: 10,
            client_cert_auth: false,
            quota_bytes: 0,
            auto_compaction: AutoCompaction::Off,
            compaction_pace: CompactionPace::default(),
            corrupt_check: CorruptCheck::default(),
        }
    }

    /// Every address for clients.
    pub(crate) fn all_client_listeners(&self) -> Vec<ClientListener> {
        let security = match self.client_tls {
            Some(_) => ListenerSecurity::Tls,
            None => ListenerSecurity::Plain,
        };
        let short = self.client_listen.iter().map(|address| ClientListener {
            address: address.clone(),
            security,
            serves: Serves::All,
        });
        short.chain(self.client_listeners.iter().cloned()).collect()
    }

    /// Every address for members.
    pub(crate) fn all_peer_listeners(&self) -> Vec<PeerListener> {
        let short = self.peer_listen.iter().map(|address| PeerListener {
            address: address.clone(),
            tls: self.peer_tls.is_some(),
        });
        short.chain(self.peer_listeners.iter().cloned()).collect()
    }

    /// How long after a quorum's answer the leader may read without asking again. Members don't elect another
    /// within `election_max` of the leader's sign of life; half of that leaves room for clocks of unequal pace.
    pub fn read_lease(&self) -> Duration {
        self.election_max / 2
    }

    /// How long a request may take before its client is told that it timed out (etcd: 5 s and two
    /// election timeouts).
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + self.election_max * 4
    }
}
