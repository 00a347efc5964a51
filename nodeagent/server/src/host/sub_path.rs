//! Sub-paths of volumes, safe against links that lead out of the volume: every component is opened below
//! the volume by the kernel, and what is bound is the open descriptor, not the path.

use super::mounts;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

pub(super) fn bind(volume: &Path, sub_path: &str, target: &Path) -> io::Result<PathBuf> {
    if sub_path.starts_with('/') || sub_path.split('/').any(|part| part == "..") {
        let text = format!("sub path {sub_path:?} leads out of the volume");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let root = openat(CWD, volume, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let opened = match open_below(&root, sub_path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_below(&root, sub_path)?;
            open_below(&root, sub_path)?
        }
        Err(error) => return Err(error),
    };
    let through = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    // An old bind shows an old version of the file; a restarted container sees the present one.
    mounts::remove_tree(target)?;
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if fs::metadata(&through)?.is_dir() {
        fs::create_dir(target)?;
    } else {
        fs::File::create(target)?;
    }
    mounts::bind(&through, target)?;
    Ok(target.to_owned())
}

fn open_below(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { "." } else { path };
    Ok(openat2(
        root,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?)
}

fn create_below(root: &OwnedFd, path: &str) -> io::Result<()> {
    let mut done = String::new();
    for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        let parent = open_below(root, &done)?;
        match rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
            Err(rustix::io::Errno::EXIST) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
        if !done.is_empty() {
            done.push('/');
        }
        done.push_str(part);
    }
    Ok(())
}
