//! Commands of the system, which must succeed.

use anyhow::{Context as _, ensure};
use std::process::Command;

/// Runs `line`, split at spaces.
///
/// # Errors
/// When it can't be started or fails; with what it printed.
pub fn run(line: &str) -> anyhow::Result<()> {
    let mut words = line.split(' ');
    let program = words.next().context("a command has a name")?;
    let output = Command::new(program)
        .args(words)
        .output()
        .with_context(|| format!("`{line}`: is {program} installed?"))?;
    ensure!(
        output.status.success(),
        "`{line}`: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
