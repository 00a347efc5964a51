//! The real machine.

use super::network::PodNetworkFiles;
use super::{
    EmptyDirOptions, HostFacts, HostLoad, NodeHost, PodNetwork, atomic_files, cgroups, mounts, network,
    pod_dialer, sub_path,
};
use crate::NodeAgentConfig;
use async_trait::async_trait;
use nodeagent_core::{FileEntry, LinuxResources, PodCgroups};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use support::{BoxedIo, Env};

/// Linux, in the network namespace that this process runs in.
pub struct LinuxHost {
    pods_dir: PathBuf,
    data_dir: PathBuf,
    network: PodNetworkFiles,
    env: Env,
}

impl LinuxHost {
    pub fn new(config: &NodeAgentConfig, env: &Env) -> Self {
        Self {
            pods_dir: config.pods_dir(),
            data_dir: config.data_dir.clone(),
            network: PodNetworkFiles {
                node_name: config.node_name.clone(),
                conf_dir: config.run_dir.join("cni/net.d"),
                leases_dir: config.run_dir.join("cni/leases"),
            },
            env: env.clone(),
        }
    }
}

/// File work off the async threads: trees may be large and disks slow.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| io::Error::other(error.to_string()))?
}

#[async_trait]
impl NodeHost for LinuxHost {
    async fn facts(&self) -> HostFacts {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let release = read("/etc/os-release");
        let os_image = release
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))
            .unwrap_or("Linux")
            .trim_matches('"')
            .to_owned();
        let disk = rustix::fs::statvfs(&self.data_dir).ok();
        HostFacts {
            cpus: std::thread::available_parallelism()
                .ok()
                .and_then(|n| u32::try_from(n.get()).ok())
                .unwrap_or(1),
            memory_bytes: meminfo("MemTotal"),
            disk_bytes: disk.map_or(0, |d| bytes(d.f_blocks, d.f_frsize)),
            machine_id: read("/etc/machine-id"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            kernel_version: read("/proc/sys/kernel/osrelease"),
            os_image,
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            }
            .to_owned(),
        }
    }

    async fn load(&self) -> HostLoad {
        let number = |path: &str| -> u64 {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.trim().parse().unwrap_or(0)
        };
        // `loadavg`: "0.1 0.2 0.3 1/234 5678", where 234 is the number of threads.
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let threads = load
            .split_whitespace()
            .nth(3)
            .and_then(|field| field.split('/').nth(1)?.parse().ok())
            .unwrap_or(0);
        let disk = rustix::fs::statvfs(&self.data_dir).ok();
        HostLoad {
            memory_available_bytes: meminfo("MemAvailable"),
            disk_available_bytes: disk.as_ref().map_or(0, |d| bytes(d.f_bavail, d.f_frsize)),
            disk_total_bytes: disk.as_ref().map_or(0, |d| bytes(d.f_blocks, d.f_frsize)),
            processes: threads,
            max_processes: number("/proc/sys/kernel/pid_max"),
        }
    }

    async fn prepare(&self) -> io::Result<()> {
        mounts::share(&self.pods_dir)?;
        network::enable_forwarding()
    }

    async fn configure_pod_network(&self, cidr: &str) -> io::Result<()> {
        self.network.write(cidr)
    }

    async fn set_routes(&self, routes: &BTreeMap<String, String>) -> io::Result<()> {
        network::set_routes(routes).await
    }

    async fn write_file(&self, path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // In place: a container may have the file itself mounted.
        fs::write(path, data)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let path = path.to_owned();
        blocking(move || fs::read(path)).await
    }

    async fn read_file_from(&self, path: &Path, offset: usize, max: usize) -> io::Result<Option<Vec<u8>>> {
        let path = path.to_owned();
        blocking(move || {
            let mut file = fs::File::open(path)?;
            let (offset, max) = (offset as u64, max as u64);
            if file.metadata()?.len() < offset {
                return Ok(None);
            }
            file.seek(SeekFrom::Start(offset))?;
            let mut data = Vec::new();
            file.take(max).read_to_end(&mut data)?;
            Ok(Some(data))
        })
        .await
    }

    async fn rotate_file(&self, path: &Path, max_bytes: u64, keep: usize) -> io::Result<bool> {
        if fs::metadata(path).is_ok_and(|m| m.len() <= max_bytes) {
            return Ok(false);
        }
        let numbered = |n: usize| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        // From the oldest on, which is overwritten; gaps are fine.
        for n in (1..keep.saturating_sub(1)).rev() {
            let _ = fs::rename(numbered(n), numbered(n + 1));
        }
        fs::rename(path, numbered(1))?;
        Ok(true)
    }

    async fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    async fn swap_files(
        &self,
        directory: &Path,
        files: &BTreeMap<String, FileEntry>,
        group: Option<i64>,
        version: &str,
    ) -> io::Result<()> {
        let (directory, files, version) = (directory.to_owned(), files.clone(), version.to_owned());
        blocking(move || atomic_files::swap(&directory, &files, group, &version)).await
    }

    async fn empty_directory(&self, path: &Path, options: EmptyDirOptions) -> io::Result<()> {
        fs::create_dir_all(path)?;
        if options.memory {
            mounts::tmpfs(path, options.size_limit_bytes)?;
        }
        let mut mode = 0o777;
        if let Some(group) = options.group.and_then(|g| u32::try_from(g).ok()) {
            chown(path, None, Some(group))?;
            // New files belong to the group too.
            mode |= 0o2000;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    async fn check_host_path(&self, path: &Path, kind: &str) -> io::Result<()> {
        match kind {
            "DirectoryOrCreate" if !path.exists() => {
                fs::create_dir_all(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
            }
            "FileOrCreate" if !path.exists() => {
                fs::File::create(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
            }
            _ => {}
        }
        let found = fs::metadata(path).map(|m| m.file_type());
        let fits = match (kind, &found) {
            ("", _) => true,
            ("Directory" | "DirectoryOrCreate", Ok(t)) => t.is_dir(),
            ("File" | "FileOrCreate", Ok(t)) => t.is_file(),
            ("Socket", Ok(t)) => t.is_socket(),
            ("CharDevice", Ok(t)) => t.is_char_device(),
            ("BlockDevice", Ok(t)) => t.is_block_device(),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let text = format!("hostPath type check failed: {} is not a {kind}", path.display());
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    async fn bind_sub_path(&self, volume: &Path, sub_path: &str, target: &Path) -> io::Result<PathBuf> {
        let (volume, path, target) = (volume.to_owned(), sub_path.to_owned(), target.to_owned());
        blocking(move || sub_path::bind(&volume, &path, &target)).await
    }

    async fn remove_tree(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        blocking(move || mounts::remove_tree(&path)).await
    }

    async fn create_pod_cgroup(&self, cgroups: &PodCgroups, resources: &LinuxResources) -> io::Result<()> {
        cgroups::create(cgroups, resources)
    }

    async fn remove_pod_cgroup(&self, cgroups: &PodCgroups) -> io::Result<()> {
        cgroups::remove(cgroups)
    }

    async fn dial_pod(&self, network: &PodNetwork, port: u16) -> io::Result<BoxedIo> {
        pod_dialer::dial(network, port).await
    }

    async fn dial(&self, address: &str) -> io::Result<BoxedIo> {
        self.env.net.connect(address).await
    }
}

fn meminfo(field: &str) -> i64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    let kib: i64 = line
        .and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    kib << 10
}

fn bytes(blocks: u64, size: u64) -> i64 {
    i64::try_from(blocks.saturating_mul(size)).unwrap_or(i64::MAX)
}
