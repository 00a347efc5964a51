//! What an API server is told at its start.

use std::collections::BTreeMap;
use std::time::Duration;
use support::tls::{ClientTls, Identity};

/// Everything that differs between two API servers. Replicas of one cluster share all of it except
/// addresses and serving identity.
#[derive(Clone)]
pub struct ApiServerConfig {
    /// `host:port` pairs to listen on; port 0 picks a free one.
    pub listen: Vec<String>,
    /// The address and port at which clients and pods reach this replica; the port defaults to the first
    /// listener's.
    pub advertise_address: String,
    pub advertise_port: Option<u16>,
    /// `None` serves plain TCP: only for simulations, where bytes on the wire must be repeatable.
    pub serving: Option<Identity>,
    /// Certificates of clients are checked against this authority.
    pub client_ca_pem: String,
    pub store: StoreConfig,
    pub service_account: ServiceAccountConfig,
    /// Bearer tokens known from the start, and whose they are (upstream's `--token-auth-file`).
    pub static_tokens: BTreeMap<String, StaticUser>,
    /// First address is the one of the Service `default/kubernetes`.
    pub service_cidr: ipnet::Ipv4Net,
    pub node_ports: std::ops::RangeInclusive<u16>,
    /// How this server shows itself to node agents, and whom it trusts there.
    pub kubelet: Option<KubeletConfig>,
    pub limits: FrontLimits,
}

/// The owner of a static token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticUser {
    pub name: String,
    pub groups: Vec<String>,
}

/// Where the etcd v3 store is and how its values are sealed.
#[derive(Clone)]
pub struct StoreConfig {
    /// `host:port` of every member.
    pub endpoints: Vec<String>,
    pub tls: Option<ClientTls>,
    /// AES-256 key under which Secrets are sealed; `None` stores them in the clear.
    pub encryption_key: Option<[u8; 32]>,
}

/// The keys behind service-account tokens.
#[derive(Clone)]
pub struct ServiceAccountConfig {
    /// ES256 private key, PKCS#8 PEM; signs and verifies.
    pub signing_key_pem: String,
    pub issuer: String,
}

/// The client side of the node agents' HTTPS endpoints.
#[derive(Clone)]
pub struct KubeletConfig {
    pub client: Identity,
    pub ca_pem: String,
}

/// Bounds at the front door. Beyond them requests are answered 413, 429 or 504.
#[derive(Debug, Clone)]
pub struct FrontLimits {
    /// Largest request body, bytes.
    pub body_bytes: usize,
    /// Time for everything but watches, logs, exec and the like.
    pub request_timeout: Duration,
    /// Requests under way that change nothing; further ones get 429.
    pub max_reads: usize,
    /// Requests under way that write; further ones get 429.
    pub max_writes: usize,
}

impl Default for FrontLimits {
    fn default() -> Self {
        // Upstream's defaults: --max-requests-inflight 400, --max-mutating-requests-inflight 200.
        Self {
            body_bytes: 3 << 20,
            request_timeout: Duration::from_secs(60),
            max_reads: 400,
            max_writes: 200,
        }
    }
}

impl std::fmt::Debug for ApiServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys stay out of logs.
        f.debug_struct("ApiServerConfig")
            .field("listen", &self.listen)
            .field("advertise_address", &self.advertise_address)
            .field("store", &self.store.endpoints)
            .finish_non_exhaustive()
    }
}
