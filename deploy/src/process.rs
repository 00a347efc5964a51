//! Background processes of a cluster: started, recorded, found again, ended.
//!
//! - A process is known by its pid *and* its start time, so that a pid that the kernel gave to somebody
//!   else meanwhile is never taken for ours. Signals go through a pidfd that was checked after opening.
//! - Nothing is ever ended by name. What a node leaves running (runtime, shims, containers) is found by
//!   the network namespace that it was started in, and by descent.
//! - Output goes to one log file a process, which is set aside when it has grown large.

use crate::files;
use anyhow::{Context as _, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

/// A log larger than this is set aside as `.1` when its process starts anew.
const LOG_LIMIT_BYTES: u64 = 32 << 20;
const POLL: Duration = Duration::from_millis(20);

/// Which process, for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    pub pid: i32,
    /// Clock ticks since boot, field 22 of `/proc/PID/stat`.
    start_time: u64,
}

impl Identity {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        (!stat.ended).then_some(Self {
            pid,
            start_time: stat.start_time,
        })
    }

    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends `signal`; a process that is gone is fine.
    pub fn signal(self, signal: Signal) {
        if let Some(fd) = self.open() {
            // It may end between the check and the signal, which then goes nowhere.
            let _gone = pidfd_send_signal(&fd, signal);
        }
    }

    /// A handle that is surely this process's: opened first, checked second.
    fn open(self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(fd)
    }
}

/// What we need of `/proc/PID/stat` (proc_pid_stat(5)).
struct Stat {
    parent: i32,
    start_time: u64,
    /// A zombie: ended, only not collected yet.
    ended: bool,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name may hold blanks and parentheses; the last `)` ends it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            ended: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

/// How to start a process.
pub struct Launch<'a> {
    /// Also the name of its record and log.
    pub name: &'a str,
    /// Name of the network namespace.
    pub namespace: &'a str,
    pub program: &'a Path,
    pub args: Vec<String>,
}

/// The processes of one profile.
pub struct Processes {
    records: PathBuf,
    logs: PathBuf,
}

impl Processes {
    pub fn new(run_folder: &Path, logs: &Path) -> Self {
        Self {
            records: run_folder.join("processes"),
            logs: logs.to_owned(),
        }
    }

    /// The process of that name, when it runs.
    pub fn find(&self, name: &str) -> Option<Identity> {
        let text = std::fs::read_to_string(self.record(name)).ok()?;
        serde_json::from_str::<Identity>(&text)
            .ok()
            .filter(|identity| identity.is_alive())
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Starts the process unless it runs already; it outlives us.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&self, launch: &Launch<'_>) -> anyhow::Result<Identity> {
        if let Some(running) = self.find(launch.name) {
            return Ok(running);
        }
        files::private_folder(&self.records)?;
        files::private_folder(&self.logs)?;
        let log = self.open_log(launch.name)?;
        // setsid and nsenter replace themselves, so the pid stays the same all the way. `ip netns exec`
        // would also change the mount namespace and hide the cgroups.
        let child = Command::new("setsid")
            .arg("nsenter")
            .arg(format!("--net=/run/netns/{}", launch.namespace))
            .arg("--")
            .arg(launch.program)
            .args(&launch.args)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", launch.name))?;
        let pid = i32::try_from(child.id()).context("a pid is small")?;
        let Some(identity) = Identity::of(pid) else {
            bail!("{} ended at once{}", launch.name, self.last_words(launch.name));
        };
        let record = serde_json::to_vec(&identity)?;
        files::write(&self.record(launch.name), &record, files::PUBLIC)?;
        Ok(identity)
    }

    /// Asks the process to end, insists after `patience`; done when it is gone.
    ///
    /// # Errors
    /// When not even SIGKILL ends it.
    pub async fn stop(&self, name: &str, patience: Duration) -> anyhow::Result<()> {
        if let Some(identity) = self.find(name) {
            end(&[identity], patience)
                .await
                .with_context(|| format!("ending {name}"))?;
        }
        match std::fs::remove_file(self.record(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("forgetting {name}"))
            }
            _ => Ok(()),
        }
    }

    /// The end of the log, ready to be put behind an error message.
    pub fn last_words(&self, name: &str) -> String {
        let log = self.log(name);
        match std::fs::read(&log) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let lines: Vec<&str> = text.lines().collect();
                let from = lines.len().saturating_sub(15);
                format!(
                    "\n--- last lines of {}\n{}\n---",
                    log.display(),
                    lines[from..].join("\n")
                )
            }
            Err(_) => format!(" (no log at {})", log.display()),
        }
    }

    fn open_log(&self, name: &str) -> anyhow::Result<File> {
        let path = self.log(name);
        if path
            .metadata()
            .is_ok_and(|metadata| metadata.len() > LOG_LIMIT_BYTES)
        {
            std::fs::rename(&path, path.with_extension("log.1"))?;
        }
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))
    }

    fn record(&self, name: &str) -> PathBuf {
        self.records.join(format!("{name}.json"))
    }
}

/// Ends processes: SIGTERM, after `patience` SIGKILL.
///
/// # Errors
/// When some are still there five seconds after SIGKILL (stuck in the kernel).
pub async fn end(processes: &[Identity], patience: Duration) -> anyhow::Result<()> {
    for process in processes {
        process.signal(Signal::TERM);
    }
    if gone(processes, patience).await {
        return Ok(());
    }
    for process in processes {
        process.signal(Signal::KILL);
    }
    if !gone(processes, Duration::from_secs(5)).await {
        let left: Vec<i32> = processes.iter().filter(|p| p.is_alive()).map(|p| p.pid).collect();
        bail!("processes {left:?} do not end");
    }
    Ok(())
}

async fn gone(processes: &[Identity], patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while processes.iter().any(|process| process.is_alive()) {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}

/// Every process in the named network namespace and all their descendants: a node's agent, its
/// container runtime, the shims and the containers.
pub fn inhabitants(namespace: &str) -> Vec<Identity> {
    let Ok(inode) = std::fs::metadata(format!("/run/netns/{namespace}")).map(|m| m.ino()) else {
        return Vec::new();
    };
    let parents: BTreeMap<i32, i32> = pids()
        .filter_map(|pid| Some((pid, Stat::read(pid)?.parent)))
        .collect();
    let inside: BTreeSet<i32> = parents
        .keys()
        .copied()
        .filter(|pid| std::fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| m.ino() == inode))
        .collect();
    // The caller must survive, should it have been started inside.
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    with_descendants(inside, &parents)
        .into_iter()
        .filter(|pid| *pid != own)
        .filter_map(Identity::of)
        .collect()
}

fn with_descendants(mut set: BTreeSet<i32>, parents: &BTreeMap<i32, i32>) -> BTreeSet<i32> {
    loop {
        let children: Vec<i32> = parents
            .iter()
            .filter(|(pid, parent)| set.contains(parent) && !set.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if children.is_empty() {
            return set;
        }
        set.extend(children);
    }
}

fn pids() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Identity, Stat, end, with_descendants};
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let stat = Stat::parse(&format!("1 (a) b) S 77 {}", fields[2..].join(" "))).expect("a stat line");
        assert_eq!((stat.parent, stat.start_time, stat.ended), (77, 22, false));
    }

    #[test]
    fn a_pid_with_another_start_time_is_not_ours() {
        let mut identity = Identity::of(std::process::id() as i32).expect("we run");
        assert!(identity.is_alive());
        identity.start_time += 1;
        assert!(!identity.is_alive());
    }

    #[test]
    fn grandchildren_belong_to_the_family() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1)]);
        assert_eq!(
            with_descendants(BTreeSet::from([2]), &parents),
            BTreeSet::from([2, 3, 4])
        );
    }

    #[tokio::test]
    async fn a_process_that_ignores_requests_is_ended_all_the_same() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "trap '' TERM; while :; do sleep 0.1; done"])
            .spawn()
            .expect("a shell");
        let identity = Identity::of(child.id() as i32).expect("it runs");
        end(&[identity], Duration::from_millis(300)).await.expect("ended");
        assert!(!identity.is_alive());
        child.wait().expect("collected");
    }
}
