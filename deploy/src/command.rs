//! Calling the system's tools: what they say on failure becomes our error.

use anyhow::{Context as _, bail};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs it and gives its standard output.
///
/// # Errors
/// When it can't be started or fails; with what it wrote to standard error.
pub fn run(program: &str, args: &[&str]) -> anyhow::Result<String> {
    run_with_input(program, args, &[])
}

/// As [`run`], with `input` on its standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(program: &str, args: &[&str], input: &[u8]) -> anyhow::Result<String> {
    let shown = || format!("`{program} {}`", args.join(" "));
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", shown()))?;
    let mut stdin = child.stdin.take().context("standard input is a pipe")?;
    // The tools called here read all their input before they write more than a pipe holds.
    let written = stdin.write_all(input);
    drop(stdin);
    let output = child
        .wait_with_output()
        .with_context(|| format!("running {}", shown()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", shown(), output.status, said.trim());
    }
    // Its own failure would say more than a broken pipe.
    written.with_context(|| format!("writing to {}", shown()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
