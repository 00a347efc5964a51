//! What the controllers need to know, with upstream's flag names in mind.

use jiff::SignedDuration;
use kubeclient::{ClientConfig, LeaderElectionConfig};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Config {
    pub client: ClientConfig,
    /// `--controllers`: names, `-name` to leave one out, `*` for all that are on by default.
    pub controllers: Vec<String>,
    /// `None` runs without an election (one instance only).
    pub leader_election: Option<LeaderElectionConfig>,
    /// `--cluster-cidr`, such as `10.244.0.0/16`; `None` leaves pod ranges to somebody else.
    pub cluster_cidr: Option<String>,
    /// `--node-cidr-mask-size`.
    pub node_cidr_mask_size: u8,
    /// `--root-ca-file`, its content: published in every namespace.
    pub root_ca_pem: Option<String>,
    /// `--cluster-signing-*`.
    pub signing: Option<SigningConfig>,
    pub node: NodeConfig,
    /// `--terminated-pod-gc-threshold`.
    pub terminated_pod_gc_threshold: usize,
}

/// The authority that signs certificate requests.
#[derive(Clone)]
pub struct SigningConfig {
    pub cert_pem: String,
    pub key_pem: String,
    /// `--cluster-signing-duration`.
    pub duration: Duration,
}

impl std::fmt::Debug for SigningConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningConfig")
            .field("duration", &self.duration)
            .finish_non_exhaustive()
    }
}

/// When a silent node counts as lost. Upstream waits 50 s, then 300 s more for pods that don't say otherwise. Here
/// agents renew their leases every 3 s, so that 12 s of silence are four renewals missed; with a look every second and
/// the API server's default toleration of 4 s for unreachable nodes, a lost node's pods have replacements after 17 s at
/// the latest, if nothing else is slow. Who raises the agents' lease duration must raise the grace period, too.
#[derive(Debug, Clone, Copy)]
pub struct NodeConfig {
    /// `--node-monitor-period`.
    pub monitor_period: Duration,
    /// `--node-monitor-grace-period`: the longest silence of a healthy node.
    pub monitor_grace_period: SignedDuration,
    /// `--node-startup-grace-period`.
    pub startup_grace_period: SignedDuration,
    /// `--node-eviction-rate`: nodes a second whose pods may be evicted in a healthy zone.
    pub eviction_rate: f64,
    /// `--secondary-node-eviction-rate`: the same in an unhealthy zone.
    pub secondary_eviction_rate: f64,
    /// `--large-cluster-size-threshold`: smaller unhealthy zones evict nothing.
    pub large_cluster_size_threshold: usize,
    /// `--unhealthy-zone-threshold`: the share of lost nodes that makes a zone unhealthy.
    pub unhealthy_zone_threshold: f64,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            monitor_period: Duration::from_secs(1),
            monitor_grace_period: SignedDuration::from_secs(12),
            startup_grace_period: SignedDuration::from_secs(60),
            eviction_rate: 0.1,
            secondary_eviction_rate: 0.01,
            large_cluster_size_threshold: 50,
            unhealthy_zone_threshold: 0.55,
        }
    }
}

impl Config {
    /// All default controllers, elected under upstream's lease name.
    pub fn new(client: ClientConfig, identity: &str) -> Self {
        Self {
            client,
            controllers: vec!["*".to_owned()],
            leader_election: Some(LeaderElectionConfig::new("kube-controller-manager", identity)),
            cluster_cidr: None,
            node_cidr_mask_size: 24,
            root_ca_pem: None,
            signing: None,
            node: NodeConfig::default(),
            terminated_pod_gc_threshold: 12_500,
        }
    }

    /// Whether a controller runs. Source: `app.IsControllerEnabled` (1.36).
    pub fn enables(&self, name: &str, on_by_default: bool) -> bool {
        let mut all = false;
        for entry in &self.controllers {
            if entry == name {
                return true;
            }
            if entry.strip_prefix('-') == Some(name) {
                return false;
            }
            all |= entry == "*";
        }
        all && on_by_default
    }
}
