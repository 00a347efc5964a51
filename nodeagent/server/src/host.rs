//! The machine behind a trait: files, mounts, cgroups, routes, namespaces.
//!
//! Two implementations: [`LinuxHost`] does it, [`FakeHost`] remembers it, for simulations and tests.

mod atomic_files;
mod cgroups;
mod fake;
mod linux;
mod mounts;
mod network;
mod pod_dialer;
mod sub_path;

pub use fake::FakeHost;
pub use linux::LinuxHost;

use async_trait::async_trait;
use nodeagent_core::{FileEntry, LinuxResources, PodCgroups};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use support::BoxedIo;

/// What the node object says about the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    pub cpus: u32,
    pub memory_bytes: i64,
    pub disk_bytes: i64,
    pub machine_id: String,
    pub boot_id: String,
    pub kernel_version: String,
    pub os_image: String,
    /// Go's name: `amd64`, `arm64`.
    pub architecture: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostLoad {
    pub memory_available_bytes: i64,
    pub disk_available_bytes: i64,
    pub disk_total_bytes: i64,
    pub processes: u64,
    pub max_processes: u64,
}

/// How an `emptyDir` is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmptyDirOptions {
    pub memory: bool,
    pub size_limit_bytes: Option<i64>,
    pub group: Option<i64>,
}

/// Where in the network a pod's process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodNetwork {
    Node,
    /// The network namespace of this process.
    OfProcess(u32),
}

#[async_trait]
pub trait NodeHost: Send + Sync + 'static {
    async fn facts(&self) -> HostFacts;
    async fn load(&self) -> HostLoad;
    /// Once at start: shared mounts under the pods directory, forwarding between pods.
    async fn prepare(&self) -> io::Result<()>;

    /// The pods of this node get addresses from `cidr`.
    async fn configure_pod_network(&self, cidr: &str) -> io::Result<()>;
    /// Pod networks of other nodes, by CIDR, each with the node's address. Others of ours are removed.
    async fn set_routes(&self, routes: &BTreeMap<String, String>) -> io::Result<()>;

    /// Creates parents; replaces the file.
    async fn write_file(&self, path: &Path, data: &[u8], mode: u32) -> io::Result<()>;
    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// At most `max` bytes from `offset` on; `None` when the file is shorter than that.
    async fn read_file_from(&self, path: &Path, offset: usize, max: usize) -> io::Result<Option<Vec<u8>>>;
    /// Moves a file larger than `max_bytes` aside, keeping `keep` files in all. True when it was moved.
    async fn rotate_file(&self, path: &Path, max_bytes: u64, keep: usize) -> io::Result<bool>;
    async fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes the directory hold exactly `files`, seen by readers all at once. `version` names the new set.
    async fn swap_files(
        &self,
        directory: &Path,
        files: &BTreeMap<String, FileEntry>,
        group: Option<i64>,
        version: &str,
    ) -> io::Result<()>;
    async fn empty_directory(&self, path: &Path, options: EmptyDirOptions) -> io::Result<()>;
    /// Checks, or makes, what a hostPath volume of this type needs.
    async fn check_host_path(&self, path: &Path, kind: &str) -> io::Result<()>;
    /// A path that stays at `sub_path` inside `volume`, whatever links there are.
    async fn bind_sub_path(&self, volume: &Path, sub_path: &str, target: &Path) -> io::Result<PathBuf>;
    /// Unmounts and removes everything below, and the directory itself. Fine when it is gone.
    async fn remove_tree(&self, path: &Path) -> io::Result<()>;

    async fn create_pod_cgroup(&self, cgroups: &PodCgroups, resources: &LinuxResources) -> io::Result<()>;
    async fn remove_pod_cgroup(&self, cgroups: &PodCgroups) -> io::Result<()>;

    /// Connects to a port on the pod's own loopback.
    async fn dial_pod(&self, network: &PodNetwork, port: u16) -> io::Result<BoxedIo>;
    /// Connects to an address from the node, for probes.
    async fn dial(&self, address: &str) -> io::Result<BoxedIo>;
}
