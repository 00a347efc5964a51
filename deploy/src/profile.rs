//! A local cluster on this machine: its name, its place on disk and in the network, its nodes.
//!
//! Invariants:
//! - Everything that survives a reboot is below `/var/lib/trireme/<profile>`, everything that must not is
//!   below `/run/trireme/<profile>`.
//! - Two profiles never share a slot, hence never a subnet. Slots are given out under a machine-wide lock.
//! - One command at a time changes a profile: changing needs the [`Guard`].
//! - `profile.json` carries a version; a newer one than known is refused, never rewritten.

use crate::files;
use anyhow::{Context as _, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The profile that commands mean when none is named.
pub const DEFAULT: &str = "trireme";
const STATE_ROOT: &str = "/var/lib/trireme";
const RUN_ROOT: &str = "/run/trireme";
const FORMAT: u32 = 1;
/// Each slot is a /24 of 10.200.0.0/16.
const SLOTS: u8 = 255;
/// Nodes have the addresses .11 to .250 of the subnet; .1 is the control plane, .254 the host.
pub const MAX_NODES: u8 = 240;
const FIRST_NODE: u8 = 10;

/// What is known of a profile, as stored in `profile.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    version: u32,
    pub name: String,
    /// Third byte of the subnet 10.200.SLOT.0/24.
    pub slot: u8,
    pub nodes: Vec<Node>,
    /// `REGISTRY=URL`, as given to `up`.
    #[serde(default)]
    pub registry_mirrors: Vec<String>,
}

/// A node: a network namespace with its own agent and container runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    /// From 1; never given twice while the node exists.
    pub number: u8,
}

impl Profile {
    /// The profile of that name; `None` when there is none.
    ///
    /// # Errors
    /// When its file can't be read or was written by a newer release.
    pub fn load(name: &str) -> anyhow::Result<Option<Self>> {
        check_name(name)?;
        let path = folder(name).join("profile.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        Self::parse(&text)
            .with_context(|| format!("reading {}", path.display()))
            .map(Some)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        // First the version alone: a newer format may have any other shape.
        let Version { version } = serde_json::from_str(text)?;
        ensure!(
            version == FORMAT,
            "format {version} is not known to this release (it knows {FORMAT}); use the release that wrote it"
        );
        Ok(serde_json::from_str(text)?)
    }

    /// Makes a new profile with a free slot and `nodes` nodes.
    ///
    /// # Errors
    /// When all slots are taken or the state folder can't be written.
    pub fn create(name: &str, nodes: u8) -> anyhow::Result<Self> {
        check_name(name)?;
        files::private_folder(Path::new(STATE_ROOT))?;
        let _slots = lock_file(&Path::new(STATE_ROOT).join("slots.lock"), "giving out a subnet")?;
        let taken: Vec<u8> = list()?.iter().map(|profile| profile.slot).collect();
        // The default profile prefers 0, so that its addresses are the ones in the documentation.
        let slot = (0..SLOTS)
            .find(|slot| !taken.contains(slot))
            .context("all 255 subnets are taken")?;
        let mut profile = Self {
            version: FORMAT,
            name: name.to_owned(),
            slot,
            nodes: Vec::new(),
            registry_mirrors: Vec::new(),
        };
        profile.grow(nodes)?;
        files::private_folder(&profile.folder())?;
        profile.save()?;
        Ok(profile)
    }

    /// Adds nodes until there are `count`; existing ones stay. Gives the new ones' names.
    ///
    /// # Errors
    /// When there would be more than [`MAX_NODES`].
    pub fn grow(&mut self, count: u8) -> anyhow::Result<Vec<String>> {
        ensure!(count <= MAX_NODES, "at most {MAX_NODES} nodes");
        let mut added = Vec::new();
        while self.nodes.len() < usize::from(count) {
            added.push(self.add_node()?);
        }
        Ok(added)
    }

    /// Adds one node; gives its name.
    ///
    /// # Errors
    /// When there are [`MAX_NODES`] already.
    pub fn add_node(&mut self) -> anyhow::Result<String> {
        let number = (1..=MAX_NODES)
            .find(|number| !self.nodes.iter().any(|node| node.number == *number))
            .with_context(|| format!("at most {MAX_NODES} nodes"))?;
        let name = format!("{}-{number}", self.name);
        self.nodes.push(Node {
            name: name.clone(),
            number,
        });
        Ok(name)
    }

    /// # Errors
    /// When the folder can't be written.
    pub fn save(&self) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        files::write(
            &self.folder().join("profile.json"),
            text.as_bytes(),
            files::PUBLIC,
        )
    }

    /// # Errors
    /// When there is no such node.
    pub fn node(&self, name: &str) -> anyhow::Result<&Node> {
        self.nodes.iter().find(|node| node.name == name).with_context(|| {
            let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            format!("no node `{name}`; nodes: {}", known.join(", "))
        })
    }

    /// Below which everything durable is.
    pub fn folder(&self) -> PathBuf {
        folder(&self.name)
    }

    /// Below which everything is that a reboot may clear: sockets, process records.
    pub fn run_folder(&self) -> PathBuf {
        Path::new(RUN_ROOT).join(&self.name)
    }

    pub fn pki(&self) -> PathBuf {
        self.folder().join("pki")
    }

    pub fn logs(&self) -> PathBuf {
        self.folder().join("logs")
    }

    pub fn store(&self) -> PathBuf {
        self.folder().join("store")
    }

    /// A node's durable state: images, pods, certificates.
    pub fn node_folder(&self, node: &Node) -> PathBuf {
        self.folder().join("nodes").join(&node.name)
    }

    /// A node's sockets and runtime state.
    pub fn node_run_folder(&self, node: &Node) -> PathBuf {
        self.run_folder().join("nodes").join(&node.name)
    }

    /// Where the control plane listens.
    pub fn control_address(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// The host's end of the cluster's network.
    pub fn host_address(&self) -> Ipv4Addr {
        self.address(254)
    }

    pub fn node_address(&self, node: &Node) -> Ipv4Addr {
        self.address(FIRST_NODE + node.number)
    }

    pub fn subnet(&self) -> String {
        format!("{}/24", self.address(0))
    }

    /// `host:port` of the API server.
    pub fn api_address(&self) -> String {
        format!("{}:6443", self.control_address())
    }

    /// Name of the network namespace of the control plane and the switch.
    pub fn lan_namespace(&self) -> String {
        format!("trireme-{}-lan", self.name)
    }

    pub fn node_namespace(&self, node: &Node) -> String {
        format!("trireme-{}", node.name)
    }

    /// Name of the kubeconfig context, cluster and user.
    pub fn context(&self) -> String {
        if self.name == DEFAULT {
            DEFAULT.to_owned()
        } else {
            format!("{DEFAULT}-{}", self.name)
        }
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 200, self.slot, last)
    }
}

/// The right to change a profile; ends when dropped.
pub struct Guard(#[expect(dead_code, reason = "holds the lock while open")] File);

/// # Errors
/// When another command holds the profile.
pub fn lock(name: &str) -> anyhow::Result<Guard> {
    check_name(name)?;
    files::private_folder(Path::new(RUN_ROOT))?;
    lock_file(
        &Path::new(RUN_ROOT).join(format!("{name}.lock")),
        &format!("changing profile `{name}`"),
    )
}

fn lock_file(path: &Path, purpose: &str) -> anyhow::Result<Guard> {
    let file = File::create(path).with_context(|| format!("opening {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        eprintln!("waiting for another trireme command: {purpose}");
        flock(&file, FlockOperation::LockExclusive).with_context(|| format!("locking {}", path.display()))?;
    }
    Ok(Guard(file))
}

/// All profiles of this machine, by name.
///
/// # Errors
/// When one can't be read.
pub fn list() -> anyhow::Result<Vec<Profile>> {
    let entries = match std::fs::read_dir(STATE_ROOT) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {STATE_ROOT}")),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if check_name(&name).is_ok() {
            names.push(name);
        }
    }
    names.sort();
    let mut profiles = Vec::new();
    for name in names {
        profiles.extend(Profile::load(&name)?);
    }
    Ok(profiles)
}

fn folder(name: &str) -> PathBuf {
    Path::new(STATE_ROOT).join(name)
}

/// Names become host names of nodes, folders and namespaces.
fn check_name(name: &str) -> anyhow::Result<()> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty()
        || name.len() > 40
        || !name.chars().all(good)
        || name.starts_with('-')
        || name.ends_with('-')
    {
        bail!("profile `{name}`: 1 to 40 of a-z, 0-9 and `-`, neither first nor last a `-`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, Node, Profile, check_name};

    fn profile() -> Profile {
        Profile {
            version: FORMAT,
            name: "blue".to_owned(),
            slot: 7,
            nodes: Vec::new(),
            registry_mirrors: Vec::new(),
        }
    }

    #[test]
    fn a_removed_nodes_number_is_the_next_one_given() {
        let mut profile = profile();
        profile.grow(3).expect("room");
        profile.nodes.retain(|node| node.number != 2);
        assert_eq!(profile.add_node().expect("room"), "blue-2");
        assert_eq!(profile.nodes.len(), 3);
    }

    #[test]
    fn addresses_come_from_the_slot() {
        let profile = profile();
        let node = Node {
            name: "blue-3".to_owned(),
            number: 3,
        };
        assert_eq!(profile.api_address(), "10.200.7.1:6443");
        assert_eq!(profile.node_address(&node).to_string(), "10.200.7.13");
        assert_eq!(profile.subnet(), "10.200.7.0/24");
    }

    #[test]
    fn a_newer_format_is_refused() {
        let error = Profile::parse(r#"{"version": 2, "shape": "unknown"}"#).expect_err("a newer format");
        assert!(error.to_string().contains("format 2"), "{error}");
    }

    #[test]
    fn names_that_would_leave_their_folder_are_refused() {
        for name in ["", "..", "a/b", "A", "-a", "a-", "a.b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("blue-2").is_ok());
    }
}
