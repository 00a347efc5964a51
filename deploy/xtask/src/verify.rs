//! The judge: reads everything, changes nothing. What CI runs is what a developer runs.

use crate::{edges, rocksdb, setup, shell};
use anyhow::bail;
use std::path::Path;
use std::process::Command;

/// Installed into the cache folder where there is none on the PATH.
const DENY_VERSION: &str = "0.20.2";

type Step = (&'static str, fn(&Path) -> anyhow::Result<()>);

const STEPS: &[Step] = &[
    ("packages", |_| setup::run()),
    ("format", |root| {
        shell::run(shell::cargo(root).args(["fmt", "--all", "--check"]))
    }),
    ("edges", edges::check),
    ("rocksdb", |root| rocksdb::ensure(root).map(|_| ())),
    ("lint", lint),
    ("test", test),
    ("docs", docs),
    ("deny", deny),
];

/// Runs all steps, or only those named in `only`.
///
/// # Errors
/// The first failing step's, or an unknown name.
pub fn run(root: &Path, only: &[&str]) -> anyhow::Result<()> {
    if let Some(unknown) = only
        .iter()
        .find(|name| !STEPS.iter().any(|(known, _)| known == *name))
    {
        let known: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
        bail!("no step `{unknown}`; steps: {}", known.join(" "));
    }
    for (name, body) in STEPS {
        if only.is_empty() || only.contains(name) {
            shell::step(name, || body(root))?;
        }
    }
    println!("== verified");
    Ok(())
}

/// Formats, and applies what clippy can mend by itself.
///
/// # Errors
/// When cargo fails.
pub fn fix(root: &Path) -> anyhow::Result<()> {
    rocksdb::ensure(root)?;
    shell::run(shell::cargo(root).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
    ]))?;
    shell::run(shell::cargo(root).args(["fmt", "--all"]))
}

fn lint(root: &Path) -> anyhow::Result<()> {
    shell::run(shell::cargo(root).args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// One process a test where nextest is installed: simulations are repeatable only in a process of their
/// own. Without it, tests that simulate start such a process themselves.
fn test(root: &Path) -> anyhow::Result<()> {
    let mut command = shell::cargo(root);
    if shell::find("cargo-nextest").is_some() {
        command.args([
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--no-fail-fast",
            "--no-tests",
            "pass",
        ]);
    } else {
        println!("cargo-nextest is not installed; using cargo test");
        command.args(["test", "--locked", "--workspace", "--no-fail-fast"]);
    }
    shell::run(&mut command)
}

fn docs(root: &Path) -> anyhow::Result<()> {
    shell::run(
        shell::cargo(root)
            .args(["doc", "--locked", "--workspace", "--no-deps"])
            // Readers of these docs read the code too: links to private items are welcome.
            .env(
                "RUSTDOCFLAGS",
                "--cfg tokio_unstable --deny warnings --allow rustdoc::private_intra_doc_links",
            ),
    )
}

/// Licences, sources and banned crates. Advisories need a database from the network and judge the world's
/// state rather than a change's, so they aren't part of this.
fn deny(root: &Path) -> anyhow::Result<()> {
    let tools = shell::cache()?.join("tools");
    let kept = tools.join("bin/cargo-deny");
    let program = match shell::find("cargo-deny") {
        Some(program) => program,
        None if kept.is_file() => kept,
        None => {
            // About three minutes on two cores, once.
            shell::run(
                shell::cargo(root)
                    .args([
                        "install",
                        "cargo-deny",
                        "--locked",
                        "--version",
                        DENY_VERSION,
                        "--root",
                    ])
                    .arg(&tools)
                    // Elsewhere: the workspace's settings and lock are none of its business.
                    .current_dir("/"),
            )?;
            kept
        }
    };
    shell::run(
        Command::new(program)
            .current_dir(root)
            .args(["check", "licenses", "bans", "sources"]),
    )
}
