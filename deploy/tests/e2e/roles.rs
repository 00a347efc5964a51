//! Roles by themselves, against stock counterparts: `etcdctl` on our store, our API server on stock etcd.

use crate::world::{succeed, text, wait};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use test_ports::free_port;

#[test]
fn three_members_serve_etcdctl_and_keep_every_write_when_one_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = make_keys(folder.path());
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let url = |port: u16| format!("https://127.0.0.1:{port}");
    let start = |number: usize| {
        let mut command = trireme();
        command
            .args(["kvstore", "--pki"])
            .arg(&pki)
            .arg("--data-dir")
            .arg(folder.path().join(format!("m{number}")));
        let (client, peer) = (url(ports[number].0), url(ports[number].1));
        command.args(["--name", &format!("m{number}")]);
        command.args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ]);
        command.args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        let members = ports.iter().enumerate();
        let members: Vec<String> = members
            .map(|(other, (_, peer))| format!("m{other}={}", url(*peer)))
            .collect();
        command.args(["--initial-cluster", &members.join(",")]);
        Running::start(command, folder.path(), &format!("m{number}"))
    };
    let mut members: Vec<Option<Running>> = (0..3).map(|number| Some(start(number))).collect();
    let etcdctl = |args: &[&str]| {
        let endpoints: Vec<String> = ports
            .iter()
            .map(|(client, _)| format!("https://127.0.0.1:{client}"))
            .collect();
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &endpoints.join(",")]);
        command.arg("--cacert").arg(pki.join("store-ca.crt"));
        command.arg("--cert").arg(pki.join("apiserver-store-client.crt"));
        command.arg("--key").arg(pki.join("apiserver-store-client.key"));
        command.args(args);
        command
    };
    let put = |key: &str| {
        etcdctl(&["put", key, "value"])
            .output()
            .expect("etcdctl")
            .status
            .success()
    };
    assert!(wait(|| put("first")), "the store does not answer");
    assert_eq!(succeed(etcdctl(&["get", "first"])), "first\nvalue\n");
    assert_eq!(succeed(etcdctl(&["member", "list"])).lines().count(), 3);
    let lease = succeed(etcdctl(&["lease", "grant", "60"]));
    let lease = lease.split_whitespace().nth(1).expect("an id");
    succeed(etcdctl(&["put", "leased", "x", "--lease", lease]));
    succeed(etcdctl(&["lease", "revoke", lease]));
    assert_eq!(succeed(etcdctl(&["get", "leased"])), "");

    let mut acknowledged = Vec::new();
    for (number, member) in members.iter_mut().enumerate() {
        *member = None;
        for key in (0..5).map(|n| format!("k{number}-{n}")) {
            assert!(wait(|| put(&key)), "two of three members take no write");
            acknowledged.push(key);
        }
        *member = Some(start(number));
        assert!(wait(|| put("again")));
    }
    for key in acknowledged {
        assert_eq!(succeed(etcdctl(&["get", &key])), format!("{key}\nvalue\n"));
    }
}

#[test]
fn the_api_server_runs_on_a_stock_etcd() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = make_keys(folder.path());
    let (client, peer, api) = (free_port(), free_port(), free_port());
    let mut etcd = Command::new("etcd");
    etcd.arg("--data-dir").arg(folder.path().join("etcd"));
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    etcd.args([
        "--listen-client-urls",
        &url(client),
        "--advertise-client-urls",
        &url(client),
    ]);
    etcd.args([
        "--listen-peer-urls",
        &url(peer),
        "--initial-advertise-peer-urls",
        &url(peer),
    ]);
    etcd.args(["--initial-cluster", &format!("default={}", url(peer))]);
    let _etcd = Running::start(etcd, folder.path(), "etcd");
    let mut server = trireme();
    server
        .args(["apiserver", "--address", "127.0.0.1", "--plain-store", "--pki"])
        .arg(&pki);
    server.args([
        "--listen",
        &format!("127.0.0.1:{api}"),
        "--store",
        &format!("127.0.0.1:{client}"),
    ]);
    let _server = Running::start(server, folder.path(), "apiserver");
    let kubectl = |args: &[&str]| {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(pki.join("admin.conf"));
        command
            .args(["--server", &format!("https://127.0.0.1:{api}")])
            .args(args)
            .env("HOME", folder.path());
        command
    };
    let ready = || {
        kubectl(&["get", "--raw", "/readyz"])
            .output()
            .expect("kubectl")
            .status
            .success()
    };
    assert!(wait(ready), "the API server is not ready");
    succeed(kubectl(&[
        "create",
        "configmap",
        "kept",
        "--from-literal=key=value",
    ]));
    assert_eq!(
        succeed(kubectl(&[
            "get",
            "configmap",
            "kept",
            "-o",
            "jsonpath={.data.key}"
        ])),
        "value"
    );
    succeed(kubectl(&["delete", "configmap", "kept"]));
    let gone = kubectl(&["get", "configmap", "kept"]).output().expect("kubectl");
    assert!(text(&gone.stderr).contains("NotFound"), "{}", text(&gone.stderr));
}

pub fn trireme() -> Command {
    Command::new(env!("CARGO_BIN_EXE_trireme"))
}

pub fn make_keys(folder: &Path) -> std::path::PathBuf {
    let pki = folder.join("pki");
    let mut command = trireme();
    command
        .arg("keys")
        .arg("--pki")
        .arg(&pki)
        .args(["--address", "127.0.0.1"]);
    succeed(command);
    pki
}

/// A process that is killed when dropped; what it says goes to a file that a failing test prints.
pub struct Running {
    child: Child,
    log: std::path::PathBuf,
}

impl Running {
    pub fn start(mut command: Command, folder: &Path, name: &str) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL; it may have ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        if std::thread::panicking() {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!(
                "--- {}\n{}",
                self.log.display(),
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}
