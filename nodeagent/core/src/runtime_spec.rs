//! What the runtime is told to make: sandbox and container configurations in the shape of the CRI, with
//! just the fields that the agent sets.

use std::collections::BTreeMap;

/// Labels that the agent puts on everything it makes; after a restart they are how it knows its own.
pub mod label {
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
}

/// Annotations of containers, with upstream's names (kuberuntime `labels.go`).
pub mod annotation {
    pub const HASH: &str = "io.kubernetes.container.hash";
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NamespaceMode {
    /// Shared by the containers of the pod.
    #[default]
    Pod,
    /// Of the container alone (process ids only).
    Container,
    /// The node's.
    Node,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespaces {
    pub network: NamespaceMode,
    pub pid: NamespaceMode,
    pub ipc: NamespaceMode,
    /// The container whose process namespace is joined, by runtime id.
    pub pid_target: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SeccompProfile {
    #[default]
    Unconfined,
    RuntimeDefault,
    Localhost(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMapping {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    pub container_port: i32,
    pub host_port: i32,
    pub host_ip: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SandboxConfig {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub attempt: u32,
    /// Empty with the host's network: the runtime refuses a name it may not set.
    pub hostname: String,
    pub log_directory: String,
    pub dns_servers: Vec<String>,
    pub dns_searches: Vec<String>,
    pub dns_options: Vec<String>,
    pub port_mappings: Vec<PortMapping>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub cgroup_parent: String,
    pub sysctls: BTreeMap<String, String>,
    pub namespaces: Namespaces,
    pub privileged: bool,
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    pub supplemental_groups: Vec<i64>,
    pub seccomp: SeccompProfile,
    pub runtime_handler: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountPropagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    pub host_path: String,
    pub container_path: String,
    pub read_only: bool,
    pub propagation: MountPropagation,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CapabilitySet {
    pub add: Vec<String>,
    pub drop: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecurityContext {
    pub privileged: bool,
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    pub supplemental_groups: Vec<i64>,
    pub read_only_root: bool,
    pub no_new_privileges: bool,
    pub capabilities: CapabilitySet,
    pub seccomp: SeccompProfile,
    /// Empty lists mean that nothing is masked (`procMount: Unmasked`).
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
}

/// Zero means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinuxResources {
    pub cpu_shares: i64,
    /// Microseconds of processor time in each `cpu_period_us`.
    pub cpu_quota_us: i64,
    pub cpu_period_us: i64,
    pub memory_limit_bytes: i64,
    pub oom_score_adj: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerConfig {
    pub name: String,
    pub attempt: u32,
    /// What the runtime calls the image: the id that a pull or a look-up gave.
    pub image: String,
    /// What the pod calls it.
    pub image_name: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub working_dir: String,
    pub environment: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    /// Host devices of privileged containers are added by the runtime itself.
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Relative to the sandbox's log directory.
    pub log_path: String,
    pub stdin: bool,
    pub stdin_once: bool,
    pub tty: bool,
    pub resources: LinuxResources,
    pub namespaces: Namespaces,
    pub security: SecurityContext,
}
