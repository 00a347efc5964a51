//! A machine in memory.

use super::{EmptyDirOptions, HostFacts, HostLoad, NodeHost, PodNetwork};
use async_trait::async_trait;
use nodeagent_core::{FileEntry, LinuxResources, PodCgroups};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use support::BoxedIo;

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Vec<u8>>,
    cgroups: BTreeSet<String>,
    routes: BTreeMap<String, String>,
    pod_cidr: Option<String>,
    refuse_connections: bool,
}

/// Remembers what was written; keep the `Arc` over agent restarts.
pub struct FakeHost {
    facts: HostFacts,
    state: Mutex<State>,
}

impl FakeHost {
    pub fn new(cpus: u32, memory_bytes: i64) -> Self {
        Self {
            facts: HostFacts {
                cpus,
                memory_bytes,
                disk_bytes: 100 << 30,
                machine_id: "fake".to_owned(),
                boot_id: "fake".to_owned(),
                kernel_version: "0.0".to_owned(),
                os_image: "simulated".to_owned(),
                architecture: "amd64".to_owned(),
            },
            state: Mutex::new(State::default()),
        }
    }

    pub fn routes(&self) -> BTreeMap<String, String> {
        self.locked().routes.clone()
    }

    pub fn pod_cidr(&self) -> Option<String> {
        self.locked().pod_cidr.clone()
    }

    /// Files and directories that are left.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.locked().files.keys().cloned().collect()
    }

    /// TCP and HTTP probes fail from now on, or no longer.
    pub fn refuse_connections(&self, refuse: bool) {
        self.locked().refuse_connections = refuse;
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The far end of a probe: takes a request, says that all is well, hangs up.
async fn answer(mut stream: tokio::io::DuplexStream) -> io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await?;
    let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    stream.write_all(reply).await
}

#[async_trait]
impl NodeHost for FakeHost {
    async fn facts(&self) -> HostFacts {
        self.facts.clone()
    }

    async fn load(&self) -> HostLoad {
        HostLoad {
            memory_available_bytes: self.facts.memory_bytes,
            disk_available_bytes: self.facts.disk_bytes,
            disk_total_bytes: self.facts.disk_bytes,
            processes: 10,
            max_processes: 32768,
        }
    }

    async fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    async fn configure_pod_network(&self, cidr: &str) -> io::Result<()> {
        self.locked().pod_cidr = Some(cidr.to_owned());
        Ok(())
    }

    async fn set_routes(&self, routes: &BTreeMap<String, String>) -> io::Result<()> {
        self.locked().routes = routes.clone();
        Ok(())
    }

    async fn write_file(&self, path: &Path, data: &[u8], _mode: u32) -> io::Result<()> {
        self.locked().files.insert(path.to_owned(), data.to_vec());
        Ok(())
    }

    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.locked();
        let file = state.files.get(path).cloned();
        file.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, path.display().to_string()))
    }

    async fn read_file_from(&self, path: &Path, offset: usize, max: usize) -> io::Result<Option<Vec<u8>>> {
        let data = self.read_file(path).await?;
        let rest = data.get(offset..);
        Ok(rest.map(|rest| rest[..rest.len().min(max)].to_vec()))
    }

    async fn rotate_file(&self, _path: &Path, _max_bytes: u64, _keep: usize) -> io::Result<bool> {
        Ok(false)
    }

    async fn create_directory(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn swap_files(
        &self,
        directory: &Path,
        files: &BTreeMap<String, FileEntry>,
        _group: Option<i64>,
        _version: &str,
    ) -> io::Result<()> {
        let mut state = self.locked();
        state.files.retain(|path, _| !path.starts_with(directory));
        for (path, file) in files {
            state.files.insert(directory.join(path), file.data.clone());
        }
        Ok(())
    }

    async fn empty_directory(&self, _path: &Path, _options: EmptyDirOptions) -> io::Result<()> {
        Ok(())
    }

    async fn check_host_path(&self, _path: &Path, _kind: &str) -> io::Result<()> {
        Ok(())
    }

    async fn bind_sub_path(&self, _volume: &Path, _sub_path: &str, target: &Path) -> io::Result<PathBuf> {
        Ok(target.to_owned())
    }

    async fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.locked().files.retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    async fn create_pod_cgroup(&self, cgroups: &PodCgroups, _resources: &LinuxResources) -> io::Result<()> {
        self.locked().cgroups.insert(cgroups.pod.clone());
        Ok(())
    }

    async fn remove_pod_cgroup(&self, cgroups: &PodCgroups) -> io::Result<()> {
        self.locked().cgroups.remove(&cgroups.pod);
        Ok(())
    }

    async fn dial_pod(&self, _network: &PodNetwork, _port: u16) -> io::Result<BoxedIo> {
        self.dial("").await
    }

    async fn dial(&self, address: &str) -> io::Result<BoxedIo> {
        if self.locked().refuse_connections {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                address.to_owned(),
            ));
        }
        let (near, far) = tokio::io::duplex(4096);
        tokio::spawn(answer(far));
        Ok(Box::new(near))
    }
}
