//! Mounts: shared propagation, memory-backed directories, and taking down whole trees.

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    unmount,
};
use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Binds the directory on itself and shares mounts below it with containers, whatever `/` does.
pub(super) fn share(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    if !mount_points(directory)?.iter().any(|m| m == directory) {
        mount_bind_recursive(directory, directory)?;
    }
    mount_change(
        directory,
        MountPropagationFlags::SHARED | MountPropagationFlags::REC,
    )?;
    Ok(())
}

pub(super) fn tmpfs(path: &Path, size_bytes: Option<i64>) -> io::Result<()> {
    if mount_points(path)?.iter().any(|m| m == path) {
        return Ok(());
    }
    let options = match size_bytes {
        Some(size) => format!("size={size},mode=0777"),
        None => "mode=0777".to_owned(),
    };
    let options = CString::new(options).map_err(io::Error::other)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", path, "tmpfs", flags, options.as_c_str())?;
    Ok(())
}

pub(super) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount_bind(source, target)?;
    Ok(())
}

/// Unmounts everything at and below, then removes it. Removes nothing while anything is still mounted: it
/// would be somebody else's data.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let mut points = mount_points(path)?;
    points.sort_by_key(|p| std::cmp::Reverse(p.components().count()));
    for point in points {
        unmount(&point, UnmountFlags::NOFOLLOW).or_else(|_| {
            // Somebody holds it open: it goes when they let go.
            unmount(&point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        })?;
    }
    if !mount_points(path)?.is_empty() {
        let text = format!("{} still holds mounts", path.display());
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Mount points at and below `path`.
fn mount_points(path: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| PathBuf::from(unescape(point)));
    Ok(points.filter(|point| point.starts_with(path)).collect())
}

/// mountinfo writes blanks and backslashes as `\ooo`.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}
