//! What a machine must have before a cluster can start; everything missing is said at once.

use anyhow::bail;
use std::path::Path;

/// A program, the Debian package that brings it, and what it is for.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("containerd", "containerd", "runs the containers"),
    ("ctr", "containerd", "loads images"),
    ("runc", "runc", "starts the containers"),
    ("nft", "nftables", "routes Services"),
    ("iptables", "iptables", "opens host ports of pods"),
    ("ip", "iproute2", "makes the nodes' networks"),
    ("nsenter", "util-linux", "enters a node's network"),
    ("setsid", "util-linux", "starts background processes"),
    ("sysctl", "procps", "turns on forwarding"),
    (
        "kubectl",
        "kubernetes-client",
        "talks to the cluster; any release from 1.32 on is fine, too",
    ),
];
const CNI_FOLDER: &str = "/usr/lib/cni";
const CNI_PLUGINS: &[&str] = &["bridge", "host-local", "portmap", "loopback"];

/// # Errors
/// When something is missing: all of it, with the command that installs it.
pub fn check() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    let mut packages = Vec::new();
    problems.extend(root().err().map(|error| error.to_string()));
    for (program, package, purpose) in PROGRAMS {
        if !is_on_path(program) {
            problems.push(format!("no `{program}`, which {purpose}"));
            packages.push(*package);
        }
    }
    for plugin in CNI_PLUGINS {
        if !Path::new(CNI_FOLDER).join(plugin).is_file() {
            problems.push(format!(
                "no CNI plugin {CNI_FOLDER}/{plugin}, which connects pods"
            ));
            packages.push("containernetworking-plugins");
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    packages.sort_unstable();
    packages.dedup();
    let mut advice = String::new();
    if !packages.is_empty() {
        advice = format!(
            "\ninstall them: apt-get install --no-install-recommends {} (or, in a clone: cargo xtask setup)",
            packages.join(" ")
        );
    }
    bail!(
        "this machine can't run a cluster yet:\n  {}{advice}",
        problems.join("\n  ")
    )
}

/// # Errors
/// When we aren't root.
pub fn root() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("not root: network namespaces, mounts and containers need it; use sudo");
    }
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
