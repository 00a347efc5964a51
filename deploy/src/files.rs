//! Writing files so that they are there whole or not at all, and secret from the first byte on.

use anyhow::Context as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Mode of what anybody may read.
pub const PUBLIC: u32 = 0o644;
/// Mode of what only the owner may read: keys, tokens, client credentials.
pub const SECRET: u32 = 0o600;

/// Replaces `path` atomically: written beside it, synced, renamed.
///
/// # Errors
/// When the folder can't be written.
pub fn write(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let attempt = || -> std::io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = Path::new(&beside);
        // A leftover could have another mode.
        match std::fs::remove_file(beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(beside, path)
    };
    attempt().with_context(|| format!("writing {}", path.display()))
}

/// # Errors
/// When it can't be read.
pub fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Makes a folder, with its parents, that only the owner may look into.
///
/// # Errors
/// When a parent can't be written.
pub fn private_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("making {}", path.display()))
}

/// Removes a folder and everything in it; a missing one is fine.
///
/// # Errors
/// When something in it can't be removed.
pub fn remove_folder(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
