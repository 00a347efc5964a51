//! One cluster a test, with a profile and a kubeconfig of its own, removed at the end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Enough for a busy two-core machine; a healthy run needs a tenth.
pub const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// A running cluster.
pub struct World {
    pub profile: String,
    folder: tempfile::TempDir,
}

impl World {
    /// `trireme up` for a fresh profile whose name begins with `name`.
    pub fn up(name: &str, nodes: u8) -> Self {
        let world = Self {
            profile: format!("e2e-{name}-{}", std::process::id()),
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        println!("{}", world.trireme(&["up", "--nodes", &nodes.to_string()]));
        world
    }

    /// Runs `trireme ARGS -p PROFILE`, which must succeed; gives its standard output.
    pub fn trireme(&self, args: &[&str]) -> String {
        succeed(self.trireme_command(args))
    }

    pub fn trireme_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trireme"));
        command
            .args(args)
            .args(["-p", &self.profile])
            .env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// Runs `kubectl ARGS`, which must succeed; gives its standard output.
    pub fn kubectl(&self, args: &[&str]) -> String {
        succeed(self.kubectl_command(args))
    }

    pub fn kubectl_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(args)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.folder.path());
        command
    }

    /// Runs `kubectl ARGS`, which must fail; gives what it says.
    pub fn kubectl_refused(&self, args: &[&str]) -> String {
        let output = output(self.kubectl_command(args));
        assert!(
            !output.status.success(),
            "kubectl {args:?} succeeded: {}",
            text(&output.stdout)
        );
        text(&output.stderr)
    }

    /// `kubectl apply -f` of a manifest, with further arguments.
    pub fn apply(&self, manifest: &str, args: &[&str]) -> String {
        let path = self.file("manifest.yaml", manifest);
        let path = path.to_string_lossy();
        self.kubectl(&[&["apply", "-f", &path], args].concat())
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file in the temporary folder");
        path
    }

    /// Repeats `kubectl ARGS` until `good` says yes to its output.
    pub fn kubectl_until(&self, args: &[&str], good: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let done = wait(|| {
            let output = output(self.kubectl_command(args));
            last = format!("{}{}", text(&output.stdout), text(&output.stderr));
            output.status.success() && good(&last)
        });
        assert!(done, "kubectl {args:?} still says: {last}");
        last
    }

    /// URL of a Service, once something answers behind it.
    pub fn url(&self, service: &str) -> String {
        self.trireme(&["service", service, "--url"]).trim().to_owned()
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("config")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = output(self.trireme_command(&["logs", "--tail", "40"]));
            eprintln!("--- logs\n{}", text(&logs.stdout));
        }
        let deleted = output(self.trireme_command(&["delete"]));
        if !deleted.status.success() {
            eprintln!("deleting {} failed: {}", self.profile, text(&deleted.stderr));
        }
    }
}

/// Clients that ask one URL without pause until told to stop.
pub struct Callers {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<(usize, Vec<String>)>>,
}

impl Callers {
    pub fn start(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..2)
            .map(|_| {
                let (stop, url) = (Arc::clone(&stop), url.to_owned());
                std::thread::spawn(move || {
                    let (mut answers, mut failures) = (0, Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        match get(&url) {
                            Ok(_) => answers += 1,
                            Err(error) => failures.push(error),
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    (answers, failures)
                })
            })
            .collect();
        Self { stop, threads }
    }

    /// How many requests were answered, and what became of the others.
    pub fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = (0, Vec::new());
        for thread in self.threads {
            let (answers, failures) = thread.join().expect("a caller does not panic");
            total.0 += answers;
            total.1.extend(failures);
        }
        total
    }
}

/// The body of a 200 answer to `GET http://host:port/path`, on a connection of its own.
pub fn get(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").ok_or("not http")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let ask = || -> std::io::Result<String> {
        let address = authority.parse().map_err(std::io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let path = if path.is_empty() { "/" } else { path };
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(format!("not a 200: {answer:?}")),
    }
}

/// Polls until it is true; false after [`PATIENCE`].
pub fn wait(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

pub fn succeed(mut command: Command) -> String {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert!(
        output.status.success(),
        "{shown} failed ({}):\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn output(mut command: Command) -> Output {
    let shown = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{shown}: {error}"))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn has_words(line: &str, words: &[&str]) -> bool {
    words
        .iter()
        .all(|word| line.split_whitespace().any(|w| w == *word))
}

pub fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
