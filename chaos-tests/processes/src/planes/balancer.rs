//! `trireme balancer`, which is how `kubectl` gets to several API servers.

use super::keys::Keys;
use crate::places::Places;
use anyhow::Context as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;

/// Where it listens, on this side of the bridge.
pub const ADDRESS: &str = "127.0.0.1:6443";

/// How often it is looked whether it listens.
const LOOK: Duration = Duration::from_millis(20);

/// Runs until dropped.
pub struct Balancer(Child);

impl Balancer {
    /// Starts it, and waits until it listens: who comes earlier is refused.
    ///
    /// # Errors
    /// When it can't be started, or ends at once.
    pub async fn start(
        program: &Path,
        keys: &Keys,
        servers: &[String],
        places: &Places,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).arg("balancer");
        command.args(["--listen", ADDRESS, "--ca"]).arg(keys.ca_file());
        for server in servers {
            command.args(["--server", server]);
        }
        let log = std::fs::File::create(places.log("balancer"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut balancer = Self(command.spawn().context("starting the balancer")?);
        while TcpStream::connect(ADDRESS).await.is_err() {
            if let Some(ended) = balancer.0.try_wait()? {
                anyhow::bail!("the balancer has ended: {ended}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(balancer)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Whatever is left of it: nothing can be done about a failure here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
