//! A scheduler, or the controllers, killed while they lead: others act instead. Seconds are printed as a measurement,
//! with some tenths for the `kubectl` calls in them; what is asserted is only that it happens.

use crate::roles::{Running, make_keys, trireme};
use crate::world::{exists, succeed, wait};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use test_ports::free_port;

const ROUNDS: usize = 5;

#[test]
fn when_the_leading_scheduler_or_controllers_are_killed_others_act() {
    let plane = Plane::start();
    // A node without an agent: pods can be bound to it, and nothing else happens to them.
    plane.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "still"}}));
    let capacity = json!({"status": {"allocatable": {"pods": "1000"}, "capacity": {"pods": "1000"}}});
    succeed(plane.kubectl(&[
        "patch",
        "node",
        "still",
        "--subresource=status",
        "-p",
        &capacity.to_string(),
    ]));

    let mut schedulers = Candidates::start(&plane, "scheduler");
    let mut controllers = Candidates::start(&plane, "controllers");
    plane.bound("first", || {});
    plane.controlled("first", || {});
    // What the calls and the work itself take.
    report("scheduler: without a fault", vec![plane.bound("quiet", || {})]);
    report(
        "controllers: without a fault",
        vec![plane.controlled("quiet", || {})],
    );

    let (mut scheduling, mut controlling) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        scheduling.push(plane.bound(&format!("s{round}"), || schedulers.kill_leader()));
        schedulers.replace(&plane);
        controlling.push(plane.controlled(&format!("c{round}"), || controllers.kill_leader()));
        controllers.replace(&plane);
    }
    report("scheduler: acting again after kill -9", scheduling);
    report("controllers: acting again after kill -9", controlling);
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let seconds: Vec<String> = times
        .iter()
        .map(|time| format!("{:.2}", time.as_secs_f64()))
        .collect();
    println!("{what}, s: {}", seconds.join(" "));
}

/// A store and an API server.
struct Plane {
    _processes: Vec<Running>,
    folder: tempfile::TempDir,
    pki: PathBuf,
    api: String,
}

impl Plane {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = make_keys(folder.path());
        let (client, peer, api) = (free_port(), free_port(), free_port());
        let url = |port: u16| format!("https://127.0.0.1:{port}");
        let mut store = trireme();
        store.arg("kvstore").arg("--pki").arg(&pki);
        store.arg("--data-dir").arg(folder.path().join("store"));
        store.args(["--name", "m1", "--initial-cluster", &format!("m1={}", url(peer))]);
        for (flag, port) in [
            ("--listen-client-urls", client),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer),
            ("--initial-advertise-peer-urls", peer),
        ] {
            store.args([flag, &url(port)]);
        }
        let mut server = trireme();
        server
            .args(["apiserver", "--address", "127.0.0.1", "--pki"])
            .arg(&pki);
        server.args([
            "--listen",
            &format!("127.0.0.1:{api}"),
            "--store",
            &format!("127.0.0.1:{client}"),
        ]);
        let processes = vec![
            Running::start(store, folder.path(), "store"),
            Running::start(server, folder.path(), "apiserver"),
        ];
        let plane = Self {
            _processes: processes,
            folder,
            pki,
            api: format!("127.0.0.1:{api}"),
        };
        let ready = || {
            let answer = plane.kubectl(&["get", "--raw", "/readyz"]).output();
            answer.expect("kubectl").status.success()
        };
        assert!(wait(ready), "the API server is not ready");
        let all = "--clusterrole=cluster-admin";
        succeed(plane.kubectl(&[
            "create",
            "clusterrolebinding",
            "controllers",
            all,
            "--user=system:kube-controller-manager",
        ]));
        plane
    }

    fn kubectl(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.pki.join("admin.conf"));
        command
            .args(["--server", &format!("https://{}", self.api)])
            .args(args);
        command.env("HOME", self.folder.path());
        command
    }

    fn apply(&self, object: &serde_json::Value) {
        let path = self.folder.path().join("object.json");
        std::fs::write(&path, object.to_string()).expect("a file");
        succeed(self.kubectl(&["apply", "-f", &path.to_string_lossy()]));
    }

    /// How long after `fault` a pod is bound that was let go right after it.
    fn bound(&self, name: &str, fault: impl FnOnce()) -> Duration {
        let account = ["get", "serviceaccount", "default"];
        let ready = || self.kubectl(&account).output().expect("kubectl").status.success();
        assert!(wait(ready), "no account for pods");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "schedulingGates": [{"name": "test/fault"}], "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "c", "image": "i"}]}});
        self.apply(&pod);
        fault();
        let start = Instant::now();
        let open = json!([{"op": "remove", "path": "/spec/schedulingGates"}]).to_string();
        succeed(self.kubectl(&["patch", "pod", name, "--type=json", "-p", &open]));
        let condition = "--for=jsonpath={.spec.nodeName}=still";
        succeed(self.kubectl(&["wait", &format!("pod/{name}"), condition, "--timeout=120s"]));
        start.elapsed()
    }

    /// How long after `fault` a namespace has its account that was made right after it.
    fn controlled(&self, name: &str, fault: impl FnOnce()) -> Duration {
        fault();
        let start = Instant::now();
        succeed(self.kubectl(&["create", "namespace", name]));
        succeed(self.kubectl(&[
            "wait",
            "--for=create",
            "serviceaccount/default",
            "--namespace",
            name,
            "--timeout=120s",
        ]));
        start.elapsed()
    }
}

/// Two processes of one role, one of which leads.
struct Candidates {
    role: &'static str,
    started: usize,
    running: Vec<(PathBuf, Running)>,
}

impl Candidates {
    fn start(plane: &Plane, role: &'static str) -> Self {
        let mut candidates = Self {
            role,
            started: 0,
            running: Vec::new(),
        };
        candidates.replace(plane);
        candidates.leader();
        candidates.replace(plane);
        candidates
    }

    /// One more candidate, that has had time to fill its caches.
    fn replace(&mut self, plane: &Plane) {
        let mut command = trireme();
        command.arg(self.role).arg("--pki").arg(&plane.pki);
        command.args(["--server", &plane.api]);
        self.started += 1;
        let name = format!("{}-{}", self.role, self.started);
        let running = Running::start(command, plane.folder.path(), &name);
        let log = plane.folder.path().join(format!("{name}.log"));
        assert!(wait(|| exists(&log.to_string_lossy())));
        self.running.push((log, running));
        std::thread::sleep(Duration::from_secs(3));
    }

    /// The place of the one that leads.
    fn leader(&self) -> usize {
        let mut place = None;
        let found = wait(|| {
            place = self.running.iter().position(|(log, _)| leads(log));
            place.is_some()
        });
        assert!(found, "no {} leads", self.role);
        place.expect("found")
    }

    /// SIGKILL to the leader.
    fn kill_leader(&mut self) {
        let leader = self.leader();
        drop(self.running.remove(leader));
    }
}

fn leads(log: &Path) -> bool {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.matches(" leading ").count() > text.matches("leadership lost").count()
}
