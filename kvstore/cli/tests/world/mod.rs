//! Processes and their output.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// The binary, without any variable of ours.
pub fn kvstore() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvstore"));
    command.env_remove("NOTIFY_SOCKET");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCD") {
            command.env_remove(name);
        }
    }
    command
}

/// A member with its data in `folder`, at these URLs.
pub fn member(folder: &Path, name: &str, client: &str, peer: &str, cluster: &str) -> Command {
    let mut command = kvstore();
    command.args(["--name", name, "--data-dir"]);
    command.arg(folder.join(name));
    command.args(["--listen-client-urls", client]);
    command.args(["--advertise-client-urls", client]);
    command.args(["--listen-peer-urls", peer]);
    command.args(["--initial-advertise-peer-urls", peer]);
    command.args(["--initial-cluster", cluster]);
    command
}

pub fn etcdctl(endpoint: &str) -> Command {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").args(["--endpoints", endpoint]);
    command
}

/// What a command prints; it must succeed.
pub fn succeed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}

/// Whether a condition comes true in time.
// Real processes take real time.
#[allow(clippy::disallowed_methods)]
pub fn wait(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    condition()
}

/// A running member, killed when dropped.
pub struct Member {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Member {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Arc::clone(&log);
        let errors = child.stderr.take().expect("it was asked for");
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                lines.lock().expect("not poisoned").push(line);
            }
        });
        Self { child, log }
    }

    pub fn lines(&self) -> Vec<String> {
        self.log.lock().expect("not poisoned").clone()
    }

    pub fn says(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.contains(text))
    }

    /// Asks it to stop; its exit code, if it ends by itself.
    pub fn terminate(mut self) -> Option<i32> {
        succeed(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.child.wait().expect("its end").code()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        if std::thread::panicking() {
            let lines = self.lines();
            eprintln!("{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}
