//! The node agent: runs the pods that are bound to its node and says how they are.
//!
//! Invariants:
//! - A pod is planned by `nodeagent_core::plan` alone; this crate observes, executes and reports.
//! - Pods outlive the agent and the container runtime; both find them again by their labels.
//! - The container runtime is behind [`Runtime`], the machine behind [`NodeHost`], the network behind
//!   `support::Env`: the whole agent runs in a simulation with [`FakeRuntime`] and [`FakeHost`].
//!
//! What it does not do: schedule, evict for taints, or touch another node.

mod agent;
mod config;
mod containerd;
mod context;
mod dns_server;
mod endpoints;
mod grpc_health;
mod host;
mod node;
mod objects;
mod pod;
mod runtime;
mod service_proxy;
mod spdy;
mod tls;

pub use agent::{NodeAgent, run_on_linux};
pub use config::{ContainerdConfig, NodeAgentConfig};
pub use containerd::{Containerd, import_image};
pub use dns_server::{DNS_PORT, DnsServer, DnsServerConfig};
pub use host::{EmptyDirOptions, FakeHost, HostFacts, HostLoad, LinuxHost, NodeHost, PodNetwork};
pub use runtime::{
    ContainerUsage, CriRuntime, ExecOutput, FakeBehaviour, FakeRuntime, ImageInfo, PodSummary, RegistryAuth,
    Runtime, RuntimeError, RuntimeHealth, StreamOptions,
};

pub use service_proxy::{Nft, RulesetSink, ServiceProxy, ServiceProxyConfig};

const USER_AGENT: &str = concat!("trireme-agent/", env!("CARGO_PKG_VERSION"));
