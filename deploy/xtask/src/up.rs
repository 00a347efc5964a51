//! From a clone to a running cluster: packages, library, binary, `trireme up`.

use crate::{rocksdb, setup, shell};
use anyhow::Context as _;
use std::path::Path;
use std::process::Command;

/// Where the binary is installed, so that `trireme` is a command afterwards.
const INSTALLED: &str = "/usr/local/bin/trireme";

/// `args` go to `trireme up`.
///
/// # Errors
/// Whatever step fails; it is named.
pub fn run(root: &Path, args: &[&str]) -> anyhow::Result<()> {
    shell::step("packages", setup::run)?;
    shell::step("RocksDB", || rocksdb::ensure(root))?;
    shell::step("build", || {
        shell::run(shell::cargo(root).args(["build", "--locked", "-p", "trireme"]))
    })?;
    let built = target_folder(root)?.join("debug/trireme");
    shell::step("install", || install(&built))?;
    shell::run(Command::new(INSTALLED).arg("up").args(args))
}

/// Where cargo puts what it builds.
pub fn target_folder(root: &Path) -> anyhow::Result<std::path::PathBuf> {
    let text = shell::output(shell::cargo(root).args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    Ok(metadata["target_directory"]
        .as_str()
        .context("cargo knows its target folder")?
        .into())
}

/// Copies beside and renames, so that running processes keep the file that they run from.
fn install(built: &Path) -> anyhow::Result<()> {
    let fresh = format!("{INSTALLED}.new");
    std::fs::copy(built, &fresh)
        .with_context(|| format!("copying {} to {fresh}; `up` needs root", built.display()))?;
    std::fs::rename(&fresh, INSTALLED).with_context(|| format!("moving {fresh} to {INSTALLED}"))?;
    println!("{INSTALLED} is this build");
    Ok(())
}
