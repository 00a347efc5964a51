//! Showing what a cluster's processes have logged.

use crate::cli::Logs;
use crate::cluster::{CONTROL_PLANE, Cluster};
use anyhow::{Context as _, bail};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// How much of the end of a log is looked at for its last lines.
const WINDOW_BYTES: u64 = 4 << 20;
const POLL: Duration = Duration::from_millis(200);

/// Prints the last lines of each log, then, when asked to follow, whatever is added.
///
/// # Errors
/// When there is no such component or a log can't be read.
pub async fn show(options: &Logs) -> anyhow::Result<()> {
    let cluster = Cluster::open(&options.selected.profile)?;
    let mut names = vec![CONTROL_PLANE.to_owned()];
    names.extend(cluster.profile.nodes.iter().map(|node| node.name.clone()));
    if let Some(wanted) = &options.component {
        if !names.contains(wanted) {
            bail!("no component `{wanted}`; components: {}", names.join(", "));
        }
        names = vec![wanted.clone()];
    }
    let prefixed = names.len() > 1;
    let mut tails = Vec::new();
    for name in names {
        let mut tail = Tail {
            prefix: if prefixed {
                format!("{name}: ")
            } else {
                String::new()
            },
            position: 0,
        };
        let log = cluster.processes.log(&name);
        if log.exists() {
            tail.last(&log, options.tail)?;
        }
        tails.push((log, tail));
    }
    if !options.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(POLL).await;
        for (log, tail) in &mut tails {
            if log.exists() {
                tail.more(log)?;
            }
        }
    }
}

/// How far a log has been shown.
struct Tail {
    prefix: String,
    position: u64,
}

impl Tail {
    fn last(&mut self, log: &Path, count: usize) -> anyhow::Result<()> {
        let length = log.metadata()?.len();
        self.position = length.saturating_sub(WINDOW_BYTES);
        let text = self.read(log)?;
        let lines: Vec<&str> = text.lines().collect();
        self.print(&lines[lines.len().saturating_sub(count)..]);
        Ok(())
    }

    fn more(&mut self, log: &Path) -> anyhow::Result<()> {
        if log.metadata()?.len() < self.position {
            // Set aside and begun anew.
            self.position = 0;
        }
        let text = self.read(log)?;
        self.print(&text.lines().collect::<Vec<_>>());
        Ok(())
    }

    fn read(&mut self, log: &Path) -> anyhow::Result<String> {
        let mut file = File::open(log).with_context(|| format!("opening {}", log.display()))?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        self.position += bytes.len() as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn print(&self, lines: &[&str]) {
        for line in lines {
            println!("{}{line}", self.prefix);
        }
    }
}
