//! Where and how a member listens.

use std::time::Duration;

/// One address on which a member serves clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientListener {
    /// `host:port`, or `unix:` and the path of a socket.
    pub address: String,
    pub security: ListenerSecurity,
    pub serves: Serves,
}

/// How connections begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerSecurity {
    Plain,
    /// With the clients' TLS.
    Tls,
    /// Either way, as each connection's first byte says.
    Either,
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Serves {
    #[default]
    All,
    Grpc,
    /// HTTP and JSON (etcd `--listen-client-http-urls`).
    Http,
}

/// One address on which a member serves the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerListener {
    /// `host:port`, or `unix:` and the path of a socket.
    pub address: String,
    /// Whether with the members' TLS.
    pub tls: bool,
}

/// Bounds of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Streams open at a time (etcd `--max-concurrent-streams`).
    pub streams: u32,
    /// How often it is pinged; `None`: never (etcd `--grpc-keepalive-interval`).
    pub ping_interval: Option<Duration>,
    /// How long a ping may stay unanswered (etcd `--grpc-keepalive-timeout`).
    pub ping_timeout: Duration,
}

impl Default for ConnectionLimits {
    /// Many streams: the API servers' watches share a few connections.
    fn default() -> Self {
        Self {
            streams: 100_000,
            ping_interval: Some(Duration::from_secs(10)),
            ping_timeout: Duration::from_secs(20),
        }
    }
}
