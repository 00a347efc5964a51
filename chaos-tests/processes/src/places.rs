//! Where processes live: a network namespace each, on one bridge, with a small disk each.
//!
//! ```text
//!   clients, bridge `stores` (10.213.0.254) ── vN ═ veth ═ eth0 (10.213.0.N) in a namespace of its own
//! ```
//!
//! Everything is made inside the network and mount namespaces that the program was started in, so it ends with
//! it: see [`enter`]. The disks are memory with a bound: they can be filled, and a sync costs nothing.

use crate::shell::run;
use anyhow::{Context as _, bail};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set in the program that already is in namespaces of its own.
const INSIDE: &str = "TRIREME_CHAOS_INSIDE";
/// The room of one place's disk, in mebibytes.
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

/// The address of a place, by its number from 0.
pub fn address(place: usize) -> String {
    format!("10.213.0.{}", place + 1)
}

/// All places; removed with the namespaces.
pub struct Places {
    base: PathBuf,
    names: Vec<&'static str>,
}

impl Places {
    /// # Errors
    /// When a command of the system fails.
    pub fn make(base: &Path, names: &[&'static str]) -> anyhow::Result<Self> {
        fs::create_dir_all("/run/netns")?;
        // Of this mount namespace alone.
        run("mount -t tmpfs none /run/netns")?;
        run("ip link set lo up")?;
        run("ip link add stores type bridge")?;
        run("ip addr add 10.213.0.254/24 dev stores")?;
        run("ip link set stores up")?;
        for (place, name) in names.iter().enumerate() {
            let address = address(place);
            let port = port(place);
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
            names: names.to_vec(),
        })
    }

    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    fn disk(&self, place: usize) -> PathBuf {
        self.base.join(self.names[place])
    }

    /// The data folder, on the disk of a place.
    pub fn data(&self, place: usize) -> PathBuf {
        self.disk(place).join("data")
    }

    /// Where what a process prints goes: on no place's disk.
    pub fn log(&self, process: &str) -> PathBuf {
        self.base.join(format!("{process}.log"))
    }

    /// Unplugs a place from everybody, clients too.
    ///
    /// # Errors
    /// When a command of the system fails.
    pub fn unplug(&self, place: usize) -> anyhow::Result<()> {
        run(&format!("ip link set {} down", port(place)))
    }

    /// # Errors
    /// When a command of the system fails.
    pub fn plug(&self, place: usize) -> anyhow::Result<()> {
        run(&format!("ip link set {} up", port(place)))
    }

    /// Lets nothing from `from` reach `to` any more; the other way goes on.
    ///
    /// # Errors
    /// When a command of the system fails.
    pub fn deafen(&self, to: usize, from: usize) -> anyhow::Result<()> {
        let (name, from) = (self.names[to], address(from));
        run(&format!(
            "ip netns exec {name} nft add rule inet chaos in ip saddr {from} drop"
        ))
    }

    /// Takes back all [`Places::deafen`] of `to`.
    ///
    /// # Errors
    /// When a command of the system fails.
    pub fn hear(&self, to: usize) -> anyhow::Result<()> {
        let name = self.names[to];
        run(&format!("ip netns exec {name} nft flush chain inet chaos in"))
    }

    /// Leaves no room on the disk of a place.
    ///
    /// # Errors
    /// When the disk fails in another way than by being full.
    pub fn fill(&self, place: usize) -> anyhow::Result<()> {
        let mut filler = File::create(self.disk(place).join(FILLER))?;
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
    pub fn clear(&self, place: usize) -> anyhow::Result<()> {
        match fs::remove_file(self.disk(place).join(FILLER)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Takes the data of a place where nothing runs.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn wipe(&self, place: usize) -> anyhow::Result<()> {
        match fs::remove_dir_all(self.data(place)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Takes back everything that was done to the places.
    ///
    /// # Errors
    /// When a command of the system fails.
    pub fn heal(&self) -> anyhow::Result<()> {
        for place in 0..self.names.len() {
            self.plug(place)?;
            self.hear(place)?;
            self.clear(place)?;
        }
        Ok(())
    }
}

fn port(place: usize) -> String {
    format!("v{}", place + 1)
}
