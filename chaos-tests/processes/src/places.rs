//! Where members live: a network namespace each, on one bridge, with a small disk each.
//!
//! ```text
//!   clients, bridge `stores` (10.213.0.254) ── vN ═ veth ═ eth0 (10.213.0.N) in namespace store-N
//! ```
//!
//! Everything is made inside the network and mount namespaces that the program was started in, so it ends with
//! it: see [`enter`]. The disks are memory with a bound: they can be filled, and a sync costs nothing.

use crate::shell::run;
use anyhow::{Context as _, bail};
use chaos_store::MEMBER_NAMES;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set in the program that already is in namespaces of its own.
const INSIDE: &str = "TRIREME_CHAOS_INSIDE";
/// The room of one member's disk, in mebibytes.
const DISK_MIB: usize = 256;
/// What fills a disk.
const FILLER: &str = "filler";

/// Starts this program anew in network and mount namespaces of its own; returns once it is there.
///
/// # Errors
/// When the system doesn't allow it: it takes root.
pub fn enter() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces take root");
    }
    let program = std::env::current_exe().context("the program's own path")?;
    let error = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("starting in namespaces: is unshare installed?")
}

/// The address of a member, by its number from 0.
pub fn address(member: usize) -> String {
    format!("10.213.0.{}", member + 1)
}

/// All places; removed with the namespaces.
pub struct Places {
    base: PathBuf,
    members: usize,
}

impl Places {
    /// # Errors
    /// When a command of the system fails.
    pub fn make(base: &Path, members: usize) -> anyhow::Result<Self> {
        fs::create_dir_all("/run/netns")?;
        // Of this mount namespace alone.
        run("mount -t tmpfs none /run/netns")?;
        run("ip link set lo up")?;
        run("ip link add stores type bridge")?;
        run("ip addr add 10.213.0.254/24 dev stores")?;
        run("ip link set stores up")?;
        for (member, name) in MEMBER_NAMES.iter().enumerate().take(members) {
            let address = address(member);
            let port = port(member);
            run(&format!("ip netns add {name}"))?;
            run(&format!(
                "ip link add {port} type veth peer name eth0 netns {name}"
            ))?;
            run(&format!("ip link set {port} master stores up"))?;
            run(&format!("ip -n {name} link set lo up"))?;
            run(&format!("ip -n {name} addr add {address}/24 dev eth0"))?;
            run(&format!("ip -n {name} link set eth0 up"))?;
            run(&format!("ip netns exec {name} nft add table inet chaos"))?;
            let hook = "{ type filter hook input priority 0 ; }";
            run(&format!(
                "ip netns exec {name} nft add chain inet chaos in {hook}"
            ))?;
            let disk = base.join(name);
            fs::create_dir_all(&disk)?;
            run(&format!(
                "mount -t tmpfs -o size={DISK_MIB}m none {}",
                disk.display()
            ))?;
        }
        Ok(Self {
            base: base.to_owned(),
            members,
        })
    }

    fn disk(&self, member: usize) -> PathBuf {
        self.base.join(MEMBER_NAMES[member])
    }

    /// The data folder, on the disk of a member.
    pub fn data(&self, member: usize) -> PathBuf {
        self.disk(member).join("data")
    }

    /// Where what a member prints goes: not on its disk.
    pub fn log(&self, member: usize) -> PathBuf {
        self.base.join(format!("{}.log", MEMBER_NAMES[member]))
    }

    /// Unplugs a member from everybody, clients too.
    ///
    /// # Errors
    /// When a command of the system fails.
    pub fn unplug(&self, member: usize) -> anyhow::Result<()> {
        run(&format!("ip link set {} down", port(member)))
    }

    /// # Errors
    /// When a command of the system fails.
    pub fn plug(&self, member: usize) -> anyhow::Result<()> {
        run(&format!("ip link set {} up", port(member)))
    }

    /// Lets nothing from `from` reach `to` any more; the other way goes on.
    ///
    /// # Errors
    /// When a command of the system fails.
    pub fn deafen(&self, to: usize, from: usize) -> anyhow::Result<()> {
        let (name, from) = (MEMBER_NAMES[to], address(from));
        run(&format!(
            "ip netns exec {name} nft add rule inet chaos in ip saddr {from} drop"
        ))
    }

    /// Takes back all [`Places::deafen`] of `to`.
    ///
    /// # Errors
    /// When a command of the system fails.
    pub fn hear(&self, to: usize) -> anyhow::Result<()> {
        let name = MEMBER_NAMES[to];
        run(&format!("ip netns exec {name} nft flush chain inet chaos in"))
    }

    /// Leaves no room on the disk of a member.
    ///
    /// # Errors
    /// When the disk fails in another way than by being full.
    pub fn fill(&self, member: usize) -> anyhow::Result<()> {
        let mut filler = File::create(self.disk(member).join(FILLER))?;
        for size in [1 << 20, 4 << 10] {
            let piece = vec![0; size];
            loop {
                match filler.write_all(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling a disk"),
                }
            }
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn clear(&self, member: usize) -> anyhow::Result<()> {
        match fs::remove_file(self.disk(member).join(FILLER)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Takes the data of a member that doesn't run.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn wipe(&self, member: usize) -> anyhow::Result<()> {
        Ok(fs::remove_dir_all(self.data(member))?)
    }

    /// Takes back everything that was done to the places.
    ///
    /// # Errors
    /// When a command of the system fails.
    pub fn heal(&self) -> anyhow::Result<()> {
        for member in 0..self.members {
            self.plug(member)?;
            self.hear(member)?;
            self.clear(member)?;
        }
        Ok(())
    }
}

fn port(member: usize) -> String {
    format!("v{}", member + 1)
}
