//! The processes of a world: each place has its own, and they are started by the same commands at every boot.

use crate::places::Places;
use anyhow::{Context as _, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

/// Gives the place its name as host name, and becomes the program.
const IN_PLACE: &str = "echo \"$0\" > /proc/sys/kernel/hostname && exec setpriv --pdeathsig KILL \"$@\"";

/// One command line.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What its log is called.
    pub name: String,
    pub program: OsString,
    pub words: Vec<OsString>,
}

/// A process that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub place: usize,
    pub what: String,
    /// Nothing runs in its place any more.
    pub last: bool,
}

/// All processes; killed when this is dropped, or when this program dies.
pub struct Processes<'p> {
    places: &'p Places,
    /// What belongs to each place.
    launches: Vec<Vec<Launch>>,
    /// The same, as far as they run.
    children: Vec<Vec<Option<Child>>>,
}

impl Drop for Processes<'_> {
    fn drop(&mut self) {
        for place in 0..self.children.len() {
            // Whatever is left of it: nothing can be done about a failure here.
            let _ = self.kill(place);
        }
    }
}

impl<'p> Processes<'p> {
    /// Starts all of them; `launches` has an entry for each place.
    ///
    /// # Errors
    /// When a process can't be started.
    pub fn start(places: &'p Places, launches: Vec<Vec<Launch>>) -> anyhow::Result<Self> {
        let mut all = Self {
            places,
            children: launches
                .iter()
                .map(|here| here.iter().map(|_| None).collect())
                .collect(),
            launches,
        };
        for place in 0..all.launches.len() {
            all.boot(place)?;
        }
        Ok(all)
    }

    /// Starts what doesn't run in a place, by the same commands as always.
    ///
    /// # Errors
    /// When a process can't be started.
    pub fn boot(&mut self, place: usize) -> anyhow::Result<()> {
        let host = self.places.names()[place];
        for (launch, child) in self.launches[place].iter().zip(&mut self.children[place]) {
            if child.is_some() {
                continue;
            }
            let mut log = OpenOptions::new();
            let log = log
                .create(true)
                .append(true)
                .open(self.places.log(&launch.name))?;
            let started = Command::new("ip")
                .args([
                    "netns", "exec", host, "unshare", "--uts", "sh", "-c", IN_PLACE, host,
                ])
                .arg(&launch.program)
                .args(&launch.words)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn();
            *child = Some(started.with_context(|| format!("starting {}", launch.name))?);
        }
        Ok(())
    }

    /// Whether everything that belongs to the place runs.
    pub fn runs(&self, place: usize) -> bool {
        self.children[place].iter().all(Option::is_some)
    }

    /// Sends a signal to everything that runs in a place.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, place: usize, signal: Signal) -> anyhow::Result<()> {
        for child in self.children[place].iter().flatten() {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| anyhow!("a process has an id"))?;
            kill_process(pid, signal)
                .with_context(|| format!("{signal:?} to {}", self.places.names()[place]))?;
        }
        Ok(())
    }

    /// Ends everything in a place at once, and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self, place: usize) -> anyhow::Result<()> {
        let mut killed: Vec<Child> = self.children[place].iter_mut().filter_map(Option::take).collect();
        for child in &mut killed {
            child.kill()?;
        }
        for child in &mut killed {
            child.wait()?;
        }
        Ok(())
    }

    /// The processes that have ended since the last call; of those that were not killed here.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn ended(&mut self) -> anyhow::Result<Vec<Ended>> {
        let mut ended = Vec::new();
        for (place, children) in self.children.iter_mut().enumerate() {
            for (launch, child) in self.launches[place].iter().zip(children.iter_mut()) {
                let Some(status) = child.as_mut().map(Child::try_wait).transpose()?.flatten() else {
                    continue;
                };
                *child = None;
                let how = match status.signal() {
                    Some(signal) => format!("by signal {signal}"),
                    None => status.to_string(),
                };
                ended.push(Ended {
                    place,
                    what: format!("{} ended {how}", launch.name),
                    last: false,
                });
            }
            let gone = children.iter().all(Option::is_none);
            if let Some(newest) = ended.last_mut()
                && newest.place == place
            {
                newest.last = gone;
            }
        }
        Ok(ended)
    }
}
