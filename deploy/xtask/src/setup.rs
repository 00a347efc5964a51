//! Installs what building and running need, from Debian's own packages.
//!
//! - What is there already is left alone; a second run changes nothing.
//! - Packages bring services (a container runtime, a store, a registry). Those must neither start now nor
//!   at the next boot: clusters start their own, privately. A service that ran before stays as it was.

use crate::shell;
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package and what it is for.
const PACKAGES: &[(&str, &str)] = &[
    ("g++", "compiles RocksDB"),
    ("libclang-dev", "generates RocksDB's bindings"),
    ("containerd", "runs containers"),
    ("runc", "runs containers"),
    ("containernetworking-plugins", "connects pods"),
    ("nftables", "routes Services"),
    ("iptables", "hostPort, through the CNI plugin portmap"),
    ("iproute2", "network namespaces"),
    ("conntrack", "forgets connections to removed endpoints"),
    ("busybox-static", "test images"),
    ("curl", "tests use the API without kubectl"),
    ("procps", "kernel settings; tests look for processes"),
    ("docker-registry", "tests pull from a real registry"),
    ("etcd-server", "tests run the API server on stock etcd"),
    ("etcd-client", "tests drive the store with stock etcdctl"),
    ("python3-venv", "tests use the Python client"),
];
/// Debian's own kubectl; taken only when there is no other.
const KUBECTL_PACKAGE: &str = "kubernetes-client";
/// Services that those packages would start.
const SERVICES: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("docker-registry", "docker-registry"),
    ("etcd-server", "etcd"),
];

/// # Errors
/// When this is no Debian, packages are missing without the right to install them, or apt fails.
pub fn run() -> anyhow::Result<()> {
    let mut missing: Vec<(&str, &str)> = PACKAGES
        .iter()
        .copied()
        .filter(|(package, _)| !is_installed(package))
        .collect();
    match shell::find("kubectl") {
        Some(kubectl) => println!("kubectl: {}", kubectl.display()),
        None => missing.push((KUBECTL_PACKAGE, "kubectl")),
    }
    if missing.is_empty() {
        println!("all packages are installed");
        return Ok(());
    }
    println!("missing packages:");
    for (package, purpose) in &missing {
        println!("  {package}: {purpose}");
    }
    let names: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    if shell::find("apt-get").is_none() {
        bail!(
            "no apt-get here; install these (or your distribution's equals): {}",
            names.join(" ")
        );
    }
    let privilege = Privilege::find().with_context(|| {
        format!(
            "not root and no sudo; run as root: apt-get install --no-install-recommends {}",
            names.join(" ")
        )
    })?;
    let quiet = QuietInstall::begin(privilege)?;
    // A machine whose package lists are old or absent fails the first time.
    if install(privilege, &names).is_err() {
        println!("trying again with fresh package lists");
        shell::run(privilege.command("apt-get").arg("update"))?;
        install(privilege, &names)?;
    }
    for (package, service) in SERVICES {
        if names.contains(package) && shell::find("systemctl").is_some() {
            shell::run(
                privilege
                    .command("systemctl")
                    .args(["disable", "--quiet", service]),
            )?;
        }
    }
    drop(quiet);
    println!("installed: {}", names.join(" "));
    Ok(())
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

fn install(privilege: Privilege, names: &[&str]) -> anyhow::Result<()> {
    shell::run(
        privilege
            .command("env")
            .args([
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "-y",
                "--no-install-recommends",
            ])
            .args(names),
    )
}

/// How commands get the administrator's rights.
#[derive(Clone, Copy)]
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    fn find() -> Option<Self> {
        let is_root = Command::new("id")
            .arg("-u")
            .output()
            .is_ok_and(|output| output.stdout == b"0\n");
        if is_root {
            Some(Self::Root)
        } else {
            shell::find("sudo").map(|_| Self::Sudo)
        }
    }

    fn command(self, program: &str) -> Command {
        match self {
            Self::Root => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.arg(program);
                command
            }
        }
    }
}

/// While this lives, installing a package starts no service (Debian policy, `invoke-rc.d`). An
/// administrator's own policy is left in place.
struct QuietInstall {
    privilege: Privilege,
    policy: Option<PathBuf>,
}

impl QuietInstall {
    fn begin(privilege: Privilege) -> anyhow::Result<Self> {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        if policy.exists() {
            return Ok(Self {
                privilege,
                policy: None,
            });
        }
        let script = format!(
            "printf '#!/bin/sh\\nexit 101\\n' > {0} && chmod 755 {0}",
            policy.display()
        );
        shell::run(privilege.command("sh").args(["-c", &script]))?;
        Ok(Self {
            privilege,
            policy: Some(policy.to_owned()),
        })
    }
}

impl Drop for QuietInstall {
    fn drop(&mut self) {
        if let Some(policy) = &self.policy
            && let Err(error) = shell::run(self.privilege.command("rm").arg("-f").arg(policy))
        {
            eprintln!(
                "{} is left behind and keeps services from starting: {error:#}",
                policy.display()
            );
        }
    }
}
