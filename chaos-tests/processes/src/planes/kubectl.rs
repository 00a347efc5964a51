//! Somebody with stock `kubectl`, who creates, reads and deletes, one command after the other.

use super::balancer;
use super::keys::Keys;
use chaos_store::history::now;
use chaos_store::stage::Board;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// A command that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// One command.
#[derive(Debug, Clone)]
pub struct Call {
    pub words: String,
    pub called: Duration,
    pub returned: Duration,
    /// What it complained about; `None`: it succeeded.
    pub error: Option<String>,
}

/// All commands of a run; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How `kubectl` is run.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    /// Where it keeps what it knows of the API.
    home: PathBuf,
    calls: Calls,
}

impl Kubectl {
    pub fn new(keys: &Keys, home: &Path, calls: Calls) -> Self {
        Self {
            kubeconfig: keys.kubeconfig(),
            home: home.to_owned(),
            calls,
        }
    }

    /// Works until the world is quiet.
    pub async fn work(self, board: Board) {
        let mut number = 0;
        while board.working() {
            number += 1;
            let name = format!("kubectl-{number}");
            let value = format!("--from-literal=value={number}");
            if !self.call(&["create", "configmap", &name, &value]).await {
                // It may be there or not: nothing more is asked of it.
                continue;
            }
            self.call(&["get", "configmap", &name, "-o", "jsonpath={.data.value}"])
                .await;
            self.call(&["delete", "configmap", &name, "--wait=false"]).await;
        }
    }

    async fn call(&self, words: &[&str]) -> bool {
        let called = now();
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--server", &format!("https://{}", balancer::ADDRESS)])
            .args(words)
            .env("HOME", &self.home)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let error = match timeout(PATIENCE, command.output()).await {
            Ok(Ok(output)) if output.status.success() => None,
            Ok(Ok(output)) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Ok(Err(error)) => Some(format!("kubectl: {error}")),
            Err(_) => Some("it hangs".to_owned()),
        };
        let succeeded = error.is_none();
        let call = Call {
            words: words[..3].join(" "),
            called,
            returned: now(),
            error,
        };
        self.calls
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call);
        succeeded
    }
}
