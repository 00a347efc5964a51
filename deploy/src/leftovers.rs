//! What container runtimes leave in the kernel when they are ended: mounts and control groups.

use crate::command;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Where control groups are; with version 1, one hierarchy a folder.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Unmounts everything at or below `folder`, the innermost first.
///
/// # Errors
/// When a mount can't be detached.
pub fn unmount_below(folder: &Path) -> anyhow::Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    for target in mounts_below(&table, folder) {
        // Lazy: a process that is just ending may still hold a file.
        command::run("umount", &["-l", &target.to_string_lossy()])?;
    }
    Ok(())
}

/// Mount points at or below `folder`, later mounts first (proc_pid_mountinfo(5), field 5).
fn mounts_below(table: &str, folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|target| target.starts_with(folder))
        .collect();
    found.reverse();
    found
}

/// Blanks and backslashes stand as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'\\', Some(digits)) = (first, tail.get(..3))
            && let Ok(digits) = std::str::from_utf8(digits)
            && let Ok(byte) = u8::from_str_radix(digits, 8)
        {
            bytes.push(byte);
            rest = &tail[3..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

/// Removes a top-level control group and those in it, whose processes have ended. What the kernel keeps stays: an
/// empty group does no harm.
pub fn remove_cgroups(name: &str) {
    let root = Path::new(CGROUP_ROOT);
    let hierarchies = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        remove_group(&hierarchy.join(name));
    }
}

fn remove_group(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    // Only a group without members and children can go; there may be none at all.
    let _kept = std::fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::mounts_below;
    use std::path::{Path, PathBuf};

    #[test]
    fn inner_mounts_come_first_and_neighbours_are_left_alone() {
        let table = "1 0 8:1 / / rw - ext4 x rw\n\
                     2 1 0:5 / /run/a rw - tmpfs x rw\n\
                     3 2 0:6 / /run/a/b\\040c rw - tmpfs x rw\n\
                     4 1 0:7 / /run/ab rw - tmpfs x rw\n";
        assert_eq!(
            mounts_below(table, Path::new("/run/a")),
            [PathBuf::from("/run/a/b c"), PathBuf::from("/run/a")]
        );
    }
}
