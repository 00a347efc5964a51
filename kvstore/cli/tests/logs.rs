//! Lines of the log that etcd's own end-to-end tests wait for.

mod world;

use std::io::Write as _;
use std::net::TcpStream;
use test_ports::free_port;
use world::{Member, etcdctl, member, succeed, wait};

/// etcd `tests/e2e/{zap_logging,etcd_config,promote_experimental_flag}_test.go`.
#[test]
fn what_etcds_tests_wait_for_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (plain, secure, peer) = (free_port(), free_port(), free_port());
    let clients = format!("http://127.0.0.1:{plain},https://127.0.0.1:{secure}");
    let peers = format!("https://127.0.0.1:{peer}");
    let cluster = format!("m1={peers}");
    let mut command = member(folder.path(), "m1", &clients, &peers, &cluster);
    command.args(["--auto-tls", "--peer-auto-tls"]);
    command.args([
        "--snapshot-catchup-entries=1000",
        "--bootstrap-defrag-threshold-megabytes=1000",
    ]);
    command.arg("--warning-unary-request-duration=1us");
    let member = Member::start(command);
    for line in [
        "\"snapshot-catchup-entries\":1000",
        "Skipping defragmentation",
        "serving client traffic",
        "ready to serve client requests",
    ] {
        assert!(wait(|| member.says(line)), "{line}");
    }
    succeed(etcdctl(&format!("http://127.0.0.1:{plain}")).args(["put", "key", "value"]));
    assert!(wait(|| member.says("\"msg\":\"request stats\"")));
    for (port, endpoint) in [(secure, "client"), (peer, "peer")] {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        connection.write_all(b"no handshake of TLS").expect("sent");
        let line = format!("rejected connection on {endpoint} endpoint");
        assert!(wait(|| member.says(&line)), "{line}");
    }
    assert_eq!(member.terminate(), Some(0));
}
