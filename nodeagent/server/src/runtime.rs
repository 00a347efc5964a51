//! The container runtime behind a trait with the CRI's verbs.
//!
//! Two implementations: [`CriRuntime`] speaks to containerd, [`FakeRuntime`] keeps everything in memory and
//! obeys a seed, for simulations and tests.

mod convert;
mod cri;
mod fake;

pub use cri::CriRuntime;
pub use fake::{FakeBehaviour, FakeRuntime};

use async_trait::async_trait;
use nodeagent_core::{ContainerConfig, ContainerState, LinuxResources, PodObservation, SandboxConfig};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Failed(String),
    /// The runtime cannot be reached; nothing is known about the outcome.
    #[error("container runtime is down: {0}")]
    Unavailable(String),
    #[error("command timed out")]
    TimedOut,
}

pub type Result<T> = std::result::Result<T, RuntimeError>;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeHealth {
    /// e.g. `containerd`
    pub name: String,
    pub version: String,
    pub network_ready: bool,
    /// Why not, for people.
    pub message: String,
}

/// One pod in the overview: enough to see that something changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodSummary {
    pub namespace: String,
    pub name: String,
    /// (id, ready) of sandboxes, (id, state) of containers, ordered by id.
    pub sandboxes: BTreeMap<String, bool>,
    pub containers: BTreeMap<String, ContainerState>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageInfo {
    pub id: String,
    pub tags: Vec<String>,
    pub digests: Vec<String>,
    pub size_bytes: u64,
    pub uid: Option<i64>,
    pub user: String,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    pub username: String,
    pub password: String,
    pub identity_token: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistryAuth { .. }")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit_code: i32,
}

/// What a streaming session connects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    pub container_id: String,
    pub name: String,
    pub pod_uid: String,
    pub pod_name: String,
    pub pod_namespace: String,
    pub cpu_nanoseconds: u64,
    pub working_set_bytes: u64,
    pub usage_bytes: u64,
    pub rss_bytes: u64,
    pub writable_bytes: u64,
    pub timestamp_ns: i64,
}

#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    async fn health(&self) -> Result<RuntimeHealth>;

    /// All pods that the agent ever made here, by UID.
    async fn list_pods(&self) -> Result<BTreeMap<String, PodSummary>>;
    /// Everything about one pod.
    async fn observe(&self, pod_uid: &str) -> Result<PodObservation>;

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<String>;
    /// Kills what is left in it. Fine when it is stopped already or gone.
    async fn stop_sandbox(&self, id: &str) -> Result<()>;
    async fn remove_sandbox(&self, id: &str) -> Result<()>;
    /// A process of the sandbox, by which its network namespace can be entered.
    async fn sandbox_pid(&self, id: &str) -> Result<u32>;

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: &ContainerConfig,
        sandbox: &SandboxConfig,
    ) -> Result<String>;
    async fn start_container(&self, id: &str) -> Result<()>;
    /// Asks to stop, kills after `grace_seconds`. Fine when it is stopped already or gone.
    async fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<()>;
    async fn remove_container(&self, id: &str) -> Result<()>;
    async fn update_resources(&self, id: &str, resources: &LinuxResources) -> Result<()>;
    /// The absolute path of the container's log file.
    async fn log_path(&self, id: &str) -> Result<String>;
    async fn reopen_log(&self, id: &str) -> Result<()>;

    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<ExecOutput>;
    /// The address of a streaming session that waits to be taken up.
    async fn exec_url(&self, id: &str, command: &[String], options: &StreamOptions) -> Result<String>;
    async fn attach_url(&self, id: &str, options: &StreamOptions) -> Result<String>;

    async fn image(&self, name: &str) -> Result<Option<ImageInfo>>;
    /// The image's id.
    async fn pull_image(&self, name: &str, auth: Option<RegistryAuth>) -> Result<String>;
    async fn list_images(&self) -> Result<Vec<ImageInfo>>;
    async fn remove_image(&self, id: &str) -> Result<()>;

    async fn usage(&self) -> Result<Vec<ContainerUsage>>;
}
