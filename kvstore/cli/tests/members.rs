//! Several members, as etcd's own end-to-end tests start them.

mod world;

use std::path::Path;
use test_ports::free_port;
use world::{Member, etcdctl, member, succeed, wait};

/// The peer URL of a member on a socket in `folder`.
fn socket(folder: &Path, name: &str) -> String {
    format!("unix://{}", folder.join(format!("{name}.peer")).display())
}

fn start(folder: &Path, name: &str, port: u16, cluster: &str) -> Member {
    let client = format!("http://localhost:{port}");
    let peer = socket(folder, name);
    Member::start(member(folder, name, &client, &peer, cluster))
}

/// etcd `tests/common/member_test.go`, `tests/e2e/ctl_v3_test.go` (`TestClusterVersion`, with peers on sockets).
#[test]
fn a_cluster_that_was_just_started_takes_no_new_member_yet() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["m0", "m1", "m2"];
    let cluster = names.map(|name| format!("{name}={}", socket(folder.path(), name)));
    let ports = names.map(|_| free_port());
    let members: Vec<Member> = names
        .iter()
        .zip(ports)
        .map(|(name, port)| start(folder.path(), name, port, &cluster.join(",")))
        .collect();
    for member in &members {
        assert!(wait(|| member.says("ready to serve client requests")));
    }
    let endpoint = format!("localhost:{}", ports[0]);
    let add = || {
        let mut command = etcdctl(&endpoint);
        command.args(["member", "add", "m3", "--peer-urls=http://localhost:1"]);
        command.output().expect("etcdctl")
    };
    let refused = add();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("etcdserver: unhealthy cluster"), "{told}");
    assert!(wait(|| add().status.success()), "the cluster never gets healthy");
    let listed = succeed(etcdctl(&endpoint).args(["member", "list"]));
    assert_eq!(listed.lines().count(), 4, "{listed}");
    for member in members {
        assert_eq!(member.terminate(), Some(0));
    }
}
