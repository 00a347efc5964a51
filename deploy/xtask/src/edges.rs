//! Holds the direction of dependencies: `proto` ← `*/core` ← `kvstore/storage` ← `*/server` ← `deploy`.
//!
//! Two rules, both about what a crate is built with outside its tests:
//! - every crate may use only the workspace crates that stand in [`ALLOWED`];
//! - a core crate names none of [`EFFECTS`]: it is plain functions over data.

use crate::shell;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::path::Path;

/// A crate and the workspace crates that it may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("support", &["proto"]),
    ("kubeschema", &[]),
    ("quantity", &[]),
    ("test-ports", &[]),
    ("test-api", &["support"]),
    ("kubeclient", &["support", "proto", "kubeschema"]),
    ("kvstore-core", &["proto"]),
    ("kvstore-storage", &["proto", "kvstore-core"]),
    ("kvstore-backup", &["proto", "kvstore-core"]),
    (
        "kvstore-server",
        &[
            "proto",
            "support",
            "kvstore-core",
            "kvstore-storage",
            "kvstore-backup",
        ],
    ),
    (
        "kvstore-backup-cli",
        &[
            "proto",
            "support",
            "kvstore-core",
            "kvstore-storage",
            "kvstore-backup",
            "kvstore-server",
        ],
    ),
    ("kvstore-cli", &["support", "kvstore-storage", "kvstore-server"]),
    ("apiserver-core", &["kubeschema", "quantity"]),
    (
        "apiserver-server",
        &["proto", "support", "kubeschema", "quantity", "apiserver-core"],
    ),
    ("scheduler-core", &["quantity"]),
    (
        "scheduler-server",
        &["support", "kubeclient", "kubeschema", "scheduler-core"],
    ),
    ("controllers", &["support", "kubeclient", "kubeschema"]),
    ("nodeagent-core", &["quantity"]),
    (
        "nodeagent-server",
        &["proto", "support", "kubeclient", "kubeschema", "nodeagent-core"],
    ),
    ("xtask", &[]),
];
/// The crates that put everything together, and may use anything.
const ROOTS: &[&str] = &["trireme", "chaos-tests", "chaos-store", "chaos-processes"];
/// Sockets, clocks, threads, disks and dice.
const EFFECTS: &[&str] = &[
    "tokio",
    "tokio-util",
    "tokio-stream",
    "tonic",
    "hyper",
    "hyper-util",
    "rocksdb",
    "openraft",
    "rand",
    "kube",
    "turmoil",
    "rustix",
];

/// # Errors
/// When an edge goes the wrong way; all of them are listed.
pub fn check(root: &Path) -> anyhow::Result<()> {
    let text = shell::output(shell::cargo(root).args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists packages")?;
    let members: Vec<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has a name")?;
        if ROOTS.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!(
                "{name} is new: say in deploy/xtask/src/edges.rs what it may use"
            ));
            continue;
        };
        for used in dependencies(package) {
            if members.contains(&used) && !allowed.contains(&used) {
                wrong.push(format!("{name} must not know {used}"));
            }
            if name.ends_with("-core") && EFFECTS.contains(&used) {
                wrong.push(format!("{name} is a core crate and must not use {used}"));
            }
        }
    }
    if !wrong.is_empty() {
        bail!(
            "dependencies against the direction of ARCHITECTURE.md:\n  {}",
            wrong.join("\n  ")
        );
    }
    println!("{} crates, every edge as designed", members.len());
    Ok(())
}

/// Names of what a package is built with, build scripts included, tests left out.
fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    package["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|dependency| dependency["kind"] != "dev")
        .filter_map(|dependency| dependency["name"].as_str())
}
