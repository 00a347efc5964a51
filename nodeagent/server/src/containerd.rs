//! A private containerd: its configuration, its process, its images.
//!
//! - It runs in the agent's network namespace with a root, state and socket of its own.
//! - When it dies it is started again; pods do not notice, their shims live on.
//! - When the agent stops it is stopped too; pods keep running, and the next one finds them.

mod configuration;

use crate::NodeAgentConfig;
use crate::runtime::{CriRuntime, Runtime as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// Between a death and the next start: long enough not to spin, short beside a pod's start.
const RESTART_DELAY: Duration = Duration::from_millis(200);

pub struct Containerd {
    program: PathBuf,
    config_file: PathBuf,
    pid_file: PathBuf,
    log_file: PathBuf,
    socket: PathBuf,
}

impl Containerd {
    /// Writes the configuration; starts nothing.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn new(config: &NodeAgentConfig) -> io::Result<Self> {
        let config_file = config.run_dir.join("containerd.toml");
        fs::create_dir_all(&config.run_dir)?;
        fs::create_dir_all(config.run_dir.join("cni/net.d"))?;
        configuration::write_registries(config)?;
        fs::write(&config_file, configuration::text(config))?;
        Ok(Self {
            program: config.containerd.program.clone(),
            config_file,
            pid_file: config.run_dir.join("containerd.pid"),
            log_file: config.run_dir.join("containerd.log"),
            socket: config.runtime_socket(),
        })
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Keeps it running until cancelled. `ready` is called once, when it serves for the first time.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub async fn supervise(&self, cancel: CancellationToken, ready: impl FnOnce()) -> io::Result<()> {
        self.stop_predecessor().await;
        let mut child = self.start().await?;
        ready();
        loop {
            let ended = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                status = child.wait() => Some(status),
            };
            let Some(status) = ended else {
                stop(&mut child).await;
                return Ok(());
            };
            tracing::warn!(?status, "containerd ended, starting it again");
            sleep(RESTART_DELAY).await;
            match self.start().await {
                Ok(next) => child = next,
                Err(error) => tracing::error!(%error, "containerd does not start"),
            }
        }
    }

    async fn start(&self) -> io::Result<Child> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log_file)?;
        let mut child = Command::new(&self.program)
            .arg("--config")
            .arg(&self.config_file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Of its own, so that a signal to the agent's group does not take it down first.
            .process_group(0)
            .spawn()?;
        if let Some(pid) = child.id() {
            fs::write(&self.pid_file, pid.to_string())?;
        }
        let runtime = CriRuntime::new(&self.socket);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if runtime.health().await.is_ok() {
                return Ok(child);
            }
            if let Some(status) = child.try_wait()? {
                let text = format!(
                    "containerd ended at start: {status}, see {}",
                    self.log_file.display()
                );
                return Err(io::Error::other(text));
            }
            if Instant::now() > deadline {
                stop(&mut child).await;
                let text = format!("containerd does not serve, see {}", self.log_file.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            sleep(POLL).await;
        }
    }

    /// One that an agent left behind when it was killed.
    async fn stop_predecessor(&self) {
        let Some(pid) = fs::read_to_string(&self.pid_file)
            .ok()
            .and_then(|text| text.trim().parse::<u32>().ok())
        else {
            return;
        };
        if !self.is_ours(pid) {
            return;
        }
        tracing::info!(pid, "stopping the containerd of an earlier agent");
        signal(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.is_ours(pid) {
            if Instant::now() > deadline {
                signal(pid, rustix::process::Signal::KILL);
            }
            sleep(POLL).await;
        }
    }

    /// The process id may be someone else's by now: only one with our configuration is ours.
    fn is_ours(&self, pid: u32) -> bool {
        let Ok(words) = fs::read(format!("/proc/{pid}/cmdline")) else {
            return false;
        };
        let config = self.config_file.as_os_str().as_encoded_bytes();
        words.split(|b| *b == 0).any(|word| word == config)
    }
}

async fn stop(child: &mut Child) {
    if let Some(pid) = child.id() {
        signal(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        // It ends either way; the error would be that it already did.
        let _ = child.kill().await;
    }
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        // Gone already is as good.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Imports an OCI or Docker archive into the runtime's image store.
///
/// # Errors
/// When `ctr` cannot be run or refuses the archive.
pub async fn import_image(socket: &Path, archive: &Path) -> io::Result<()> {
    let output = Command::new("ctr")
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "images", "import"])
        .arg(archive)
        .output()
        .await?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("ctr images import: {}", text.trim())))
}
