//! The members as processes, each in its place.

use crate::places::{Places, address};
use anyhow::{Context as _, anyhow};
use chaos_store::MEMBER_NAMES;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

/// The program that takes etcd's flags, and what comes before them.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: OsString,
    pub before: Vec<String>,
}

/// All members; killed when this is dropped, or when this program dies.
pub struct Members<'p> {
    program: Program,
    places: &'p Places,
    children: Vec<Option<Child>>,
    cluster: String,
}

impl Drop for Members<'_> {
    fn drop(&mut self) {
        for member in 0..self.children.len() {
            // Whatever is left of it: nothing can be done about a failure here.
            let _ = self.kill(member);
        }
    }
}

impl<'p> Members<'p> {
    /// Starts all of them.
    ///
    /// # Errors
    /// When a process can't be started.
    pub fn start(program: Program, places: &'p Places, members: usize) -> anyhow::Result<Self> {
        let peers: Vec<String> = (0..members)
            .map(|member| format!("{}=http://{}:2380", MEMBER_NAMES[member], address(member)))
            .collect();
        let mut all = Self {
            program,
            places,
            children: (0..members).map(|_| None).collect(),
            cluster: peers.join(","),
        };
        for member in 0..members {
            all.boot(member)?;
        }
        Ok(all)
    }

    /// Starts a member that doesn't run, by the same command as always.
    ///
    /// # Errors
    /// When the process can't be started.
    pub fn boot(&mut self, member: usize) -> anyhow::Result<()> {
        if self.children[member].is_some() {
            return Ok(());
        }
        let (name, address) = (MEMBER_NAMES[member], address(member));
        let (client, peer) = (format!("http://{address}:2379"), format!("http://{address}:2380"));
        let mut log = OpenOptions::new();
        let log = log.create(true).append(true).open(self.places.log(member))?;
        let child = Command::new("ip")
            .args(["netns", "exec", name, "setpriv", "--pdeathsig", "KILL"])
            .arg(&self.program.path)
            .args(&self.program.before)
            .args(["--name", name, "--log-level", "warn", "--snapshot-count", "2000"])
            .arg("--data-dir")
            .arg(self.places.data(member))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &self.cluster])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        self.children[member] = Some(child);
        Ok(())
    }

    pub fn runs(&self, member: usize) -> bool {
        self.children[member].is_some()
    }

    /// Sends a signal, if it runs.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, member: usize, signal: Signal) -> anyhow::Result<()> {
        let Some(child) = &self.children[member] else {
            return Ok(());
        };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| anyhow!("a process has an id"))?;
        kill_process(pid, signal).with_context(|| format!("{signal:?} to {}", MEMBER_NAMES[member]))
    }

    /// Ends it at once, and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self, member: usize) -> anyhow::Result<()> {
        if let Some(mut child) = self.children[member].take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// The members that have ended since the last call, and how; of those that were not killed here.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn ended(&mut self) -> anyhow::Result<Vec<(usize, String)>> {
        let mut ended = Vec::new();
        for (member, child) in self.children.iter_mut().enumerate() {
            let Some(status) = child.as_mut().map(Child::try_wait).transpose()?.flatten() else {
                continue;
            };
            *child = None;
            let how = match status.signal() {
                Some(signal) => format!("by signal {signal}"),
                None => status.to_string(),
            };
            ended.push((member, how));
        }
        Ok(ended)
    }
}
