//! `gateway start`, as etcd's own test starts it (etcd `tests/e2e/gateway_test.go`).

mod world;

use test_ports::free_port;
use world::{Member, etcdctl, kvstore, member, succeed, wait};

#[test]
fn a_gateway_passes_clients_on_to_a_member_that_lives() {
    let folder = tempfile::tempdir().expect("a folder");
    let (client, peer, nobody, entrance) = (free_port(), free_port(), free_port(), free_port());
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let (client, peer) = (url(client), url(peer));
    let cluster = format!("m1={peer}");
    let member = Member::start(member(folder.path(), "m1", &client, &peer, &cluster));
    assert!(wait(|| member.says("ready to serve client requests")));
    let mut command = kvstore();
    let endpoints = format!("--endpoints={},{}", url(nobody), client);
    command.args([
        "gateway",
        &endpoints,
        "start",
        &format!("--listen-addr=127.0.0.1:{entrance}"),
    ]);
    let gateway = Member::start(command);
    assert!(wait(|| gateway.says("ready to proxy client requests")));
    let entrance = format!("127.0.0.1:{entrance}");
    succeed(etcdctl(&entrance).args(["put", "foo", "bar"]));
    assert_eq!(succeed(etcdctl(&entrance).args(["get", "foo"])), "foo\nbar\n");
    assert!(gateway.says("deactivated endpoint"));
    assert_eq!(gateway.terminate(), Some(0));
    assert_eq!(member.terminate(), Some(0));
}

#[test]
fn the_gateway_tells_its_flags_to_whoever_asks() {
    for ask in ["-h", "--help"] {
        let told = succeed(kvstore().args(["gateway", "start", ask]));
        assert!(told.contains("--endpoints"), "{told}");
    }
    assert!(succeed(kvstore().arg("--help")).contains("gateway start"));
}
