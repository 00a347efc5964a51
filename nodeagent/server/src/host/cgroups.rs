//! Pod cgroups, on version 1 (also the hybrid form) and version 2.
//!
//! The runtime makes container cgroups below; the limits of the pod as a whole are ours.

use nodeagent_core::{LinuxResources, PodCgroups};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

pub(super) fn create(cgroups: &PodCgroups, resources: &LinuxResources) -> io::Result<()> {
    let root = Path::new(ROOT);
    if is_v2(root) {
        return create_v2(root, &cgroups.pod, resources);
    }
    let relative = cgroups.pod.trim_start_matches('/');
    let cpu = root.join("cpu").join(relative);
    if root.join("cpu").is_dir() {
        fs::create_dir_all(&cpu)?;
        write(&cpu, "cpu.shares", resources.cpu_shares)?;
        if resources.cpu_quota_us > 0 {
            write(&cpu, "cpu.cfs_period_us", resources.cpu_period_us)?;
            write(&cpu, "cpu.cfs_quota_us", resources.cpu_quota_us)?;
        }
    }
    let memory = root.join("memory").join(relative);
    if root.join("memory").is_dir() {
        fs::create_dir_all(&memory)?;
        if resources.memory_limit_bytes > 0 {
            write(&memory, "memory.limit_in_bytes", resources.memory_limit_bytes)?;
        }
    }
    Ok(())
}

fn create_v2(root: &Path, pod: &str, resources: &LinuxResources) -> io::Result<()> {
    let mut path = root.to_owned();
    for part in pod.trim_start_matches('/').split('/') {
        // Each controller apart: a kernel without one refuses the whole line.
        for controller in ["cpu", "cpuset", "memory", "io", "pids", "hugetlb"] {
            let _ = fs::write(path.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        path.push(part);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    // cpu.weight is shares on another scale (runc `ConvertCPUSharesToCgroupV2Value`).
    let weight = 1 + ((resources.cpu_shares - 2).max(0) * 9999) / 262_142;
    write(&path, "cpu.weight", weight)?;
    if resources.cpu_quota_us > 0 {
        let max = format!("{} {}", resources.cpu_quota_us, resources.cpu_period_us);
        fs::write(path.join("cpu.max"), max)?;
    }
    if resources.memory_limit_bytes > 0 {
        write(&path, "memory.max", resources.memory_limit_bytes)?;
    }
    Ok(())
}

/// Removes the pod's cgroup from every hierarchy. The runtime leaves it behind.
pub(super) fn remove(cgroups: &PodCgroups) -> io::Result<()> {
    let root = Path::new(ROOT);
    let relative = cgroups.pod.trim_start_matches('/');
    let mut last_error = None;
    for hierarchy in hierarchies(root) {
        if let Err(error) = remove_tree(&hierarchy.join(relative)) {
            last_error = Some(error);
        }
    }
    last_error.map_or(Ok(()), Err)
}

/// Directories only: their files go with them and cannot be removed.
fn remove_tree(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

fn hierarchies(root: &Path) -> Vec<PathBuf> {
    if is_v2(root) {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|p| p.is_dir()).collect()
}

fn is_v2(root: &Path) -> bool {
    root.join("cgroup.controllers").exists()
}

fn write(directory: &Path, file: &str, value: i64) -> io::Result<()> {
    fs::write(directory.join(file), value.to_string())
}
