//! Running other programs: every command is shown, every failure is an error that names it.

use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs `command` with its output on ours.
///
/// # Errors
/// When it can't be started or ends with another code than 0.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = shown(command);
    println!("+ {shown}");
    let status = command.status().with_context(|| format!("starting `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// What `command` writes to its standard output.
///
/// # Errors
/// When it can't be started or ends with another code than 0.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let shown = shown(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of `{shown}`"))
}

/// Where `program` is on the PATH (or where Debian puts administrators' tools).
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// `cargo` as it was called, in the workspace. What cargo tells this program about its own package stays here: build
/// scripts that look at it (ring's does) would see a change from one build to the next, and rebuild half of everything.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    for (name, _) in std::env::vars_os() {
        let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(told) {
            command.env_remove(name);
        }
    }
    command
}

/// The folder for what is kept between builds: `$TRIREME_CACHE`, else `~/.cache/trireme`.
///
/// # Errors
/// When neither it nor a home folder is known.
pub fn cache() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("TRIREME_CACHE") {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").context("neither TRIREME_CACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/trireme"))
}

/// Runs one named step and says how long it took.
///
/// # Errors
/// The step's own.
pub fn step<T>(name: &str, body: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    println!("== {name}");
    let start = Instant::now();
    let result = body().with_context(|| format!("step `{name}`"));
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    println!("== {name}: {verdict} in {}", seconds(start.elapsed()));
    result
}

pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
