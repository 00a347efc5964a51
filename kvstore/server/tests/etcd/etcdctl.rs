//! Debian's etcdctl against one member.

use super::harness::{Node, PATIENCE, single};
use kvstore_server::{DataDir, MemberConfig};
use kvstore_storage::RocksOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use test_ports::free_address;

struct Output {
    stdout: String,
    stderr: String,
    ok: bool,
}

fn etcdctl(node: &Node, args: &[&str]) -> Output {
    etcdctl_with(node, args, "")
}

fn etcdctl_with(node: &Node, args: &[&str], stdin: &str) -> Output {
    etcdctl_of(&node.address, args, stdin)
}

fn etcdctl_of(endpoint: &str, args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args([
            "--endpoints",
            endpoint,
            "--command-timeout",
            "30s",
            "--dial-timeout",
            "30s",
        ])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("etcdctl is installed (Debian's etcd-client)");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        ok: output.status.success(),
    }
}

fn stdout(node: &Node, args: &[&str]) -> String {
    let output = etcdctl(node, args);
    assert!(output.ok, "{args:?}: {}{}", output.stdout, output.stderr);
    output.stdout
}

/// The body of an answer in plain HTTP/1.1.
fn http_get(node: &Node, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(&node.address).unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").expect("headers end");
    body.to_owned()
}

#[test]
fn etcdctl_reads_what_it_writes() {
    let node = single();
    assert_eq!(stdout(&node, &["put", "foo", "bar"]), "OK\n");
    assert_eq!(stdout(&node, &["get", "foo"]), "foo\nbar\n");
    for key in ["foo1", "foo2", "fop"] {
        stdout(&node, &["put", key, "x"]);
    }
    assert_eq!(
        stdout(&node, &["get", "foo", "--prefix", "--keys-only"]),
        "foo\n\nfoo1\n\nfoo2\n\n"
    );
    assert_eq!(
        stdout(&node, &["get", "foo", "--prefix", "--limit=1"]),
        "foo\nbar\n"
    );
    assert_eq!(
        stdout(
            &node,
            &[
                "get",
                "foo1",
                "--from-key",
                "--order=DESCEND",
                "--print-value-only=false",
                "--keys-only"
            ]
        ),
        "fop\n\nfoo2\n\nfoo1\n\n"
    );
    stdout(&node, &["put", "foo", "new"]);
    let first = stdout(&node, &["get", "foo", "--rev=3", "-w", "fields"]);
    assert!(first.contains("\"Value\" : \"bar\""), "{first}");
    assert_eq!(
        stdout(&node, &["del", "foo", "--prefix", "--prev-kv"]),
        "3\nfoo\nnew\nfoo1\nx\nfoo2\nx\n"
    );
    assert_eq!(stdout(&node, &["get", "foo", "--prefix"]), "");
}

#[test]
fn etcdctl_runs_a_transaction() {
    let node = single();
    stdout(&node, &["put", "k", "1"]);
    let script = "value(\"k\") = \"1\"\nmod(\"none\") = \"0\"\n\nput k 2\nget k\n\nput k 3\n\n";
    let output = etcdctl_with(&node, &["txn"], script);
    assert!(output.ok, "{}", output.stderr);
    assert!(
        output.stdout.starts_with("SUCCESS\n\nOK\n\nk\n2\n"),
        "{}",
        output.stdout
    );
    let output = etcdctl_with(&node, &["txn"], script);
    assert!(output.stdout.starts_with("FAILURE\n\nOK\n"), "{}", output.stdout);
    assert_eq!(stdout(&node, &["get", "k"]), "k\n3\n");
}

#[test]
fn etcdctl_compacts_and_is_refused_what_is_gone() {
    let node = single();
    for value in ["1", "2", "3"] {
        stdout(&node, &["put", "k", value]);
    }
    let current = stdout(&node, &["get", "k", "-w", "json"]);
    let revision: i64 = current
        .split("\"revision\":")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .and_then(|digits| digits.parse().ok())
        .expect("a revision in the header");
    let compacted = revision.to_string();
    assert_eq!(
        stdout(&node, &["compaction", &compacted]),
        format!("compacted revision {compacted}\n")
    );
    let old = (revision - 1).to_string();
    let refused = etcdctl(&node, &["get", "k", "--rev", &old]);
    assert!(!refused.ok);
    assert!(
        refused
            .stderr
            .contains("etcdserver: mvcc: required revision has been compacted"),
        "{}",
        refused.stderr
    );
    let future = etcdctl(&node, &["get", "k", "--rev", "1000"]);
    assert!(
        future
            .stderr
            .contains("etcdserver: mvcc: required revision is a future revision")
    );
}

#[test]
fn etcdctl_grants_keeps_and_revokes_leases() {
    let node = single();
    let granted = stdout(&node, &["lease", "grant", "100"]);
    let id = granted.split_whitespace().nth(1).expect("an id").to_owned();
    assert!(granted.contains("granted with TTL(100s)"), "{granted}");
    stdout(&node, &["put", "--lease", &id, "leased", "v"]);
    let left = stdout(&node, &["lease", "timetolive", &id, "--keys"]);
    assert!(left.contains("attached keys([leased])"), "{left}");
    assert!(stdout(&node, &["lease", "keep-alive", "--once", &id]).contains("keepalived with TTL(100)"));
    assert!(stdout(&node, &["lease", "list"]).contains(&id));
    stdout(&node, &["lease", "revoke", &id]);
    assert_eq!(stdout(&node, &["get", "leased"]), "");
    let missing = etcdctl(&node, &["put", "--lease", &id, "leased", "v"]);
    assert!(
        missing.stderr.contains("etcdserver: requested lease not found"),
        "{}",
        missing.stderr
    );
}

#[test]
fn an_expired_lease_takes_its_keys_along() {
    let node = single();
    let granted = stdout(&node, &["lease", "grant", "1"]);
    let id = granted.split_whitespace().nth(1).expect("an id").to_owned();
    stdout(&node, &["put", "--lease", &id, "short", "v"]);
    let mut watch = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &node.address, "watch", "--rev=1", "short"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(watch.stdout.take().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        output
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let seen: Vec<String> = std::iter::from_fn(|| lines.recv_timeout(PATIENCE).ok())
        .take_while(|line| line != "DELETE")
        .collect();
    // Nothing ends the watch but this.
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(seen, ["PUT", "short", "v"]);
    assert_eq!(stdout(&node, &["get", "short"]), "");
}

#[test]
fn etcdctl_sees_the_cluster_and_its_health() {
    let node = single();
    stdout(&node, &["put", "k", "v"]);
    let healthy = etcdctl(&node, &["endpoint", "health"]);
    assert!(healthy.ok && (healthy.stdout + &healthy.stderr).contains("is healthy"));
    let status = stdout(&node, &["endpoint", "status"]);
    assert!(status.contains("3.6.5") && status.contains("true"), "{status}");
    assert!(stdout(&node, &["endpoint", "hashkv"]).contains(&node.address));
    let members = stdout(&node, &["member", "list"]);
    assert!(
        members.contains("started, one") && members.contains(&node.address),
        "{members}"
    );
    assert_eq!(stdout(&node, &["alarm", "list"]), "");
    for (path, expected) in [
        ("health", r#"{"health":"true","reason":""}"#),
        (
            "version",
            r#"{"etcdserver":"3.6.5","etcdcluster":"3.6.0","storage":"3.6.0"}"#,
        ),
        ("readyz", "ok\n"),
        ("nowhere", "404 page not found\n"),
    ] {
        assert_eq!(http_get(&node, path), expected);
    }
    assert!(http_get(&node, "metrics").contains("etcd_server_has_leader 1\n"));
    stdout(&node, &["defrag"]);
}

/// What etcdctl asks one member only comes with the whole URL as `:authority`.
#[test]
fn a_member_may_be_named_by_its_url() {
    let node = single();
    stdout(&node, &["put", "k", "v"]);
    let url = format!("http://{}", node.address);
    for (args, expected) in [
        (&["endpoint", "status"][..], "3.6.5"),
        (&["endpoint", "hashkv"], url.as_str()),
        (&["defrag"], "Finished defragmenting etcd member"),
    ] {
        let output = etcdctl_of(&url, args, "");
        assert!(
            output.ok && output.stdout.contains(expected),
            "{args:?}: {}{}",
            output.stdout,
            output.stderr
        );
    }
    let nowhere = etcdctl_of(&url, &["move-leader", "1"], "");
    assert!(
        nowhere.stderr.contains("etcdserver: bad leader transferee"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn a_killed_member_comes_back_with_everything_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::Directory(folder.path().join("member"), RocksOptions::default());
    let config = MemberConfig::single("one", data, &free_address());
    let node = Node::start(&config);
    for number in 0..20 {
        stdout(&node, &["put", &format!("k{number:02}"), "v"]);
    }
    node.kill();
    let node = Node::start(&config);
    assert_eq!(
        stdout(&node, &["get", "k", "--prefix", "--keys-only"])
            .matches('k')
            .count(),
        20
    );
    node.stop();
    let node = Node::start(&config);
    assert_eq!(
        stdout(&node, &["get", "k", "--prefix", "--keys-only"])
            .matches('k')
            .count(),
        20
    );
}
