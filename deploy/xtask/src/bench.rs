//! What a cluster costs, measured as a user sees it: through `trireme` and `kubectl`.

use crate::{rocksdb, shell, up};
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PROFILE: &str = "bench";
const IDLE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(120);
const PODS: usize = 5;

/// Builds the binary and prints a table of figures; the profile is cargo's, `debug` (what `cargo xtask up`
/// installs) or `release`.
///
/// # Errors
/// When a step fails; the cluster is removed all the same.
pub fn run(root: &Path, release: bool) -> anyhow::Result<()> {
    rocksdb::ensure(root)?;
    let (folder, flags): (_, &[&str]) = if release {
        ("release", &["--release"])
    } else {
        ("debug", &[])
    };
    shell::run(
        shell::cargo(root)
            .args(["build", "--locked", "-p", "trireme"])
            .args(flags),
    )?;
    let trireme = up::target_folder(root)?.join(folder).join("trireme");
    let bench = Bench {
        trireme: trireme.to_string_lossy().into_owned(),
        kubeconfig: std::env::temp_dir().join(format!("trireme-bench-{}", std::process::id())),
    };
    let measured = bench.measure();
    let removed = shell::output(&mut bench.trireme(&["delete"]));
    let figures = measured?;
    removed?;
    println!("\n| figure | value |\n|---|---|");
    for (name, value) in figures {
        println!("| {name} | {value} |");
    }
    Ok(())
}

struct Bench {
    trireme: String,
    kubeconfig: std::path::PathBuf,
}

impl Bench {
    fn measure(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut figures = Vec::new();
        let mut note = |name: &str, value: String| figures.push((name.to_owned(), value));
        let start = Instant::now();
        shell::run(&mut self.trireme(&["up"]))?;
        note("`up` to node Ready", shell::seconds(start.elapsed()));
        self.kubectl(&[
            "create",
            "deployment",
            "hw",
            "--image=trireme/hello:1",
            "--port=80",
        ])?;
        self.kubectl(&["expose", "deployment", "hw", "--type=NodePort"])?;
        let url = shell::output(&mut self.trireme(&["service", "hw", "--url"]))?;
        wait(|| answers(url.trim()))?;
        note(
            "`up` to the first answer of hello",
            shell::seconds(start.elapsed()),
        );
        let mut times = Vec::new();
        for number in 0..PODS {
            let name = format!("pod-{number}");
            let start = Instant::now();
            self.kubectl(&["run", &name, "--image=trireme/hello:1"])?;
            self.kubectl(&[
                "wait",
                "--for=condition=Ready",
                "--timeout=60s",
                &format!("pod/{name}"),
            ])?;
            times.push(start.elapsed());
        }
        times.sort();
        note(
            "pod create to ready, two kubectl calls included (median)",
            shell::seconds(times[PODS / 2]),
        );
        self.kubectl(&["delete", "pods,deployments", "--all"])?;
        wait(|| {
            self.kubectl(&["get", "pods", "-o", "name"])
                .is_ok_and(|pods| pods.is_empty())
        })?;
        let processes = self.processes()?;
        let before: Vec<u64> = processes
            .iter()
            .map(|(_, pid)| cpu_ticks(*pid))
            .collect::<Result<_, _>>()?;
        // The measurement itself: nothing is waited for but time.
        std::thread::sleep(IDLE);
        for ((name, pid), before) in processes.iter().zip(before) {
            // Ticks are hundredths of a second on Linux.
            let percent = (cpu_ticks(*pid)? - before) as f64 / IDLE.as_secs_f64();
            note(&format!("{name}: idle CPU, % of a core"), format!("{percent:.1}"));
            note(
                &format!("{name}: memory (PSS)"),
                format!("{} MB", memory_kb(*pid)? / 1024),
            );
        }
        Ok(figures)
    }

    /// Name and pid of the control plane and the agents.
    fn processes(&self) -> anyhow::Result<Vec<(String, u64)>> {
        let status: Value =
            serde_json::from_str(&shell::output(&mut self.trireme(&["status", "-o", "json"]))?)?;
        let components = status["components"]
            .as_array()
            .context("status lists components")?;
        components
            .iter()
            .map(|component| {
                let name = component["name"].as_str().context("a component has a name")?;
                Ok((
                    name.to_owned(),
                    component["pid"].as_u64().context("a component runs")?,
                ))
            })
            .collect()
    }

    fn trireme(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.trireme);
        command
            .args(args)
            .args(["-p", PROFILE])
            .env("KUBECONFIG", &self.kubeconfig);
        command
    }

    fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        shell::output(
            Command::new("kubectl")
                .args(args)
                .env("KUBECONFIG", &self.kubeconfig),
        )
    }
}

fn wait(mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() >= deadline {
            bail!("not within {}", shell::seconds(PATIENCE));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn answers(url: &str) -> bool {
    let address = url.trim_start_matches("http://");
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("Hello"))
}

fn cpu_ticks(pid: u64) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .context("a stat line")?
        .1
        .split_whitespace()
        .collect();
    // utime and stime, fields 14 and 15 (proc_pid_stat(5)).
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

fn memory_kb(pid: u64) -> anyhow::Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Pss:"))
        .context("a Pss line")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}
