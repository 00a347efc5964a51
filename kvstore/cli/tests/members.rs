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

/// Starts three members and waits until they serve.
fn three(folder: &Path) -> (Vec<Member>, impl Fn(&str) -> Member, [u16; 3]) {
    let names = ["m0", "m1", "m2"];
    let cluster = names
        .map(|name| format!("{name}={}", socket(folder, name)))
        .join(",");
    let ports = names.map(|_| free_port());
    let folder = folder.to_owned();
    let start = move |name: &str| {
        let number = names
            .iter()
            .position(|known| *known == name)
            .expect("one of the three");
        start(&folder, name, ports[number], &cluster)
    };
    let members: Vec<Member> = names.iter().map(|name| start(name)).collect();
    for member in &members {
        assert!(wait(|| member.says("ready to serve client requests")));
    }
    (members, start, ports)
}

/// etcd `tests/common/member_test.go`, `tests/e2e/ctl_v3_test.go` (`TestClusterVersion`, with peers on sockets).
#[test]
fn a_cluster_that_was_just_started_takes_no_new_member_yet() {
    let folder = tempfile::tempdir().expect("a folder");
    let (members, _, ports) = three(folder.path());
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

#[test]
fn a_member_that_falls_silent_is_logged_once_and_so_is_its_return() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut members, start, _) = three(folder.path());
    drop(members.pop());
    let says = |members: &[Member], text: &str| members.iter().any(|member| member.says(text));
    assert!(wait(|| says(&members, "\"msg\":\"peer became inactive\"")));
    members.push(start("m2"));
    assert!(wait(|| says(&members, "\"msg\":\"peer became active\"")));
    let lines: Vec<String> = members.iter().flat_map(Member::lines).collect();
    // A leader looks at each of the others, and there may have been two.
    let told = lines.iter().filter(|line| line.contains("peer became inactive"));
    assert!(told.count() <= 2, "{lines:#?}");
    let noise = lines.iter().find(|line| line.contains("heartbeat/worker.rs"));
    assert_eq!(noise, None);
}
