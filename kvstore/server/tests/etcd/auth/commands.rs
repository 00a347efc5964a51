//! Debian's etcdctl manages users and logs in.

use super::client::config;
use crate::harness::Node;
use std::process::{Command, Output};

fn etcdctl(node: &Node, args: &[&str]) -> Output {
    Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &node.address])
        .args(["--command-timeout", "30s", "--dial-timeout", "30s"])
        .args(args)
        .output()
        .expect("etcdctl is installed (Debian's etcd-client)")
}

#[track_caller]
fn ok(node: &Node, args: &[&str]) -> String {
    let output = etcdctl(node, args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(node: &Node, args: &[&str], expected: &str) {
    let output = etcdctl(node, args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && errors.contains(expected),
        "{args:?}: {errors}"
    );
}

const ROOT: [&str; 2] = ["--user", "root:rootpw"];
const ALICE: [&str; 2] = ["--user", "alice:pw"];

#[test]
fn etcdctl_sets_up_users_and_roles_and_works_as_them() {
    let node = Node::start(&config());
    let as_root = |args: &[&str]| ok(&node, &[&ROOT[..], args].concat());
    let as_alice = |args: &[&str]| ok(&node, &[&ALICE[..], args].concat());
    assert_eq!(ok(&node, &["user", "add", "root:rootpw"]), "User root created\n");
    fails(
        &node,
        &["user", "add", "root:rootpw"],
        "etcdserver: user name already exists",
    );
    // It makes the role and grants it by itself when it's told that root has none.
    assert_eq!(ok(&node, &["auth", "enable"]), "Authentication Enabled\n");
    fails(&node, &["put", "foo", "bar"], "etcdserver: user name is empty");
    fails(
        &node,
        &["--user", "root:wrong", "get", "foo"],
        "authentication failed",
    );
    as_root(&["user", "add", "alice:pw"]);
    as_root(&["role", "add", "reader"]);
    as_root(&[
        "role",
        "grant-permission",
        "reader",
        "read",
        "/read/",
        "--prefix=true",
    ]);
    as_root(&["role", "grant-permission", "reader", "readwrite", "/write"]);
    as_root(&["user", "grant-role", "alice", "reader"]);
    let role = as_root(&["role", "get", "reader"]);
    assert!(
        role.contains("[/read/, /read0) (prefix /read/)") && role.contains("/write"),
        "{role}"
    );
    assert_eq!(as_root(&["user", "list"]), "alice\nroot\n");
    assert_eq!(as_root(&["role", "list"]), "reader\nroot\n");
    assert_eq!(
        as_alice(&["user", "get", "alice"]),
        "User: alice\nRoles: reader\n"
    );
    as_root(&["put", "/read/1", "one"]);
    assert_eq!(as_alice(&["get", "/read/", "--prefix"]), "/read/1\none\n");
    assert_eq!(as_alice(&["put", "/write", "two"]), "OK\n");
    for denied in [
        ["put", "/read/1", "x"],
        ["get", "/read/", "--from-key"],
        ["del", "/read/1", "--prev-kv"],
        ["user", "get", "root"],
    ] {
        fails(&node, &[&ALICE[..], &denied[..]].concat(), "permission denied");
    }
    as_root(&["role", "revoke-permission", "reader", "/write"]);
    fails(
        &node,
        &[&ALICE[..], &["put", "/write", "x"]].concat(),
        "permission denied",
    );
    fails(
        &node,
        &[&ROOT[..], &["user", "delete", "root"]].concat(),
        "etcdserver: invalid auth management",
    );
    assert!(as_alice(&["endpoint", "status"]).contains("3.6."));
    fails(&node, &["endpoint", "status"], "");
    fails(&node, &[&ALICE[..], &["endpoint", "hashkv"]].concat(), "");
    assert!(as_alice(&["member", "list"]).contains("started"));
    let lease = as_alice(&["lease", "grant", "100"]);
    let id = lease.split_whitespace().nth(1).expect("an id");
    assert!(as_alice(&["lease", "keep-alive", "--once", id]).contains("TTL(100)"));
    as_alice(&["lease", "revoke", id]);
    as_root(&["user", "revoke-role", "alice", "reader"]);
    as_root(&["role", "delete", "reader"]);
    as_root(&["user", "delete", "alice"]);
    assert_eq!(as_root(&["auth", "disable"]), "Authentication Disabled\n");
    assert_eq!(ok(&node, &["get", "/write"]), "/write\ntwo\n");
}
