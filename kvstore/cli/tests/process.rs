//! The real binary, started as etcd is started, driven by the stock `etcdctl`.

mod world;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use support::tls::{CertificateAuthority, CertificateRequest, Usage};
use test_ports::free_port;
use world::{Member, etcdctl, kvstore, member, succeed, wait};

fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}

/// Writes a server's certificate and key, and the authority that signed them.
fn issue(folder: &Path) -> CertificateAuthority {
    let now = support::Env::production().clock.now();
    let authority = CertificateAuthority::generate("store", now).expect("an authority");
    let request = |name: &str, usage| CertificateRequest {
        common_name: name.to_owned(),
        organizations: Vec::new(),
        subject_alt_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        usage,
        validity: std::time::Duration::from_secs(3600),
    };
    for (name, usage) in [("server", Usage::Peer), ("client", Usage::Client)] {
        let identity = authority
            .issue(&request(name, usage), now)
            .expect("a certificate");
        std::fs::write(folder.join(format!("{name}.key")), identity.key_pem).expect("written");
        std::fs::write(folder.join(format!("{name}.crt")), identity.cert_pem).expect("written");
    }
    std::fs::write(folder.join("ca.crt"), authority.cert_pem()).expect("written");
    authority
}

/// `etcdctl` with the client's certificate of `folder`.
fn secure(folder: &Path, endpoint: &str) -> Command {
    let mut command = etcdctl(endpoint);
    command.arg("--cacert").arg(folder.join("ca.crt"));
    command.arg("--cert").arg(folder.join("client.crt"));
    command.arg("--key").arg(folder.join("client.key"));
    command
}

#[test]
fn a_member_serves_by_flags_and_variables_and_stops_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let (client, peer) = (free_port(), free_port());
    let manager = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
    let mut command = kvstore();
    command
        .env("ETCD_NAME", "m1")
        .env("ETCD_DATA_DIR", folder.path().join("data"))
        .env("NOTIFY_SOCKET", folder.path().join("notify"));
    command.args(["-listen-client-urls", &url("http", client)]);
    command.arg(format!("--advertise-client-urls={}", url("http", client)));
    command.args(["--listen-peer-urls", &url("http", peer)]);
    command.args(["-initial-advertise-peer-urls", &url("http", peer), "--pre-vote"]);
    let member = Member::start(command);
    assert!(wait(|| member.says("\"msg\":\"ready to serve client requests\"")));
    let mut told = [0; 16];
    let length = manager.recv(&mut told).expect("told");
    assert_eq!(&told[..length], b"READY=1");
    let ctl = || etcdctl(&url("http", client));
    succeed(ctl().args(["put", "key", "value"]));
    assert_eq!(succeed(ctl().args(["get", "key"])), "key\nvalue\n");
    assert!(succeed(ctl().args(["member", "list"])).contains("m1"));
    for line in member.lines() {
        assert!(line.starts_with(r#"{"level":""#), "{line}");
        for key in ["\"ts\":\"", "\"caller\":\"", "\"msg\":\""] {
            assert!(line.contains(key), "{line}");
        }
    }
    assert_eq!(member.terminate(), Some(0));
}

#[test]
fn certificates_are_followed_and_strangers_turned_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    for folder in [&old, &new] {
        std::fs::create_dir(folder).expect("a folder");
        issue(folder);
    }
    let used = folder.path().join("used");
    std::fs::create_dir(&used).expect("a folder");
    let install = |from: &Path, file: &str| {
        std::fs::copy(from.join(file), used.join(file)).expect("copied");
    };
    for file in ["ca.crt", "server.crt", "server.key"] {
        install(&old, file);
    }
    let (client, peer) = (free_port(), free_port());
    let file = folder.path().join("etcd.yaml");
    let text = format!(
        "name: m1\ndata-dir: {data}\nlisten-client-urls: {client}\nadvertise-client-urls: {client}\n\
         listen-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\ninitial-cluster: m1={peer}\n\
         client-transport-security:\n  cert-file: {used}/server.crt\n  key-file: {used}/server.key\n  \
         trusted-ca-file: {used}/ca.crt\n  client-cert-auth: true\n",
        data = folder.path().join("data").display(),
        client = url("https", client),
        peer = url("http", peer),
        used = used.display(),
    );
    std::fs::write(&file, text).expect("written");
    let mut command = kvstore();
    command.arg("--config-file").arg(&file);
    let member = Member::start(command);
    assert!(wait(|| member.says("ready to serve client requests")));
    let endpoint = url("https", client);
    let works = |folder: &Path| {
        let mut command = secure(folder, &endpoint);
        command.args(["--dial-timeout=1s", "--command-timeout=2s", "get", "key"]);
        command.output().expect("etcdctl").status.success()
    };
    assert!(works(&old));
    assert!(!works(&new), "a stranger");
    // Half of a new pair doesn't fit, and changes nothing.
    install(&new, "server.crt");
    assert!(works(&old));
    assert!(wait(|| member.says("the old ones stay")));
    install(&new, "server.key");
    install(&new, "ca.crt");
    assert!(wait(|| works(&new)), "the new certificate isn't served");
    assert!(!works(&old), "the old authority is still trusted");
    assert_eq!(member.terminate(), Some(0));
}

#[test]
fn plain_and_tls_share_a_port_and_http_has_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    issue(folder.path());
    let (client, peer, http) = (free_port(), free_port(), free_port());
    let both = format!("{},{}", url("http", client), url("https", client));
    let mut command = kvstore();
    command
        .args(["--name=m1", "--data-dir"])
        .arg(folder.path().join("data"));
    command.args(["--listen-client-urls", &both, "--advertise-client-urls", &both]);
    command.args(["--listen-client-http-urls", &url("http", http)]);
    command.args(["--listen-peer-urls", &url("http", peer)]);
    command.args(["--initial-advertise-peer-urls", &url("http", peer)]);
    command.arg("--cert-file").arg(folder.path().join("server.crt"));
    command.arg("--key-file").arg(folder.path().join("server.key"));
    let member = Member::start(command);
    assert!(wait(|| member.says("ready to serve client requests")));
    succeed(etcdctl(&url("http", client)).args(["put", "key", "value"]));
    let mut ctl = secure(folder.path(), &url("https", client));
    assert_eq!(succeed(ctl.args(["get", "key"])), "key\nvalue\n");
    let health = |port: u16| {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--max-time",
            "5",
            &format!("http://127.0.0.1:{port}/health"),
        ]);
        succeed(&mut curl)
    };
    assert_eq!(health(http), r#"{"health":"true","reason":""}"#);
    assert!(
        !health(client).contains("health"),
        "the clients' port serves gRPC only"
    );
}

#[test]
fn three_members_talk_with_certificates_that_they_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let cluster: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(number, (_, peer))| format!("m{number}={}", url("https", *peer)))
        .collect();
    let members: Vec<Member> = ports
        .iter()
        .enumerate()
        .map(|(number, (client, peer))| {
            let (client, peer) = (url("https", *client), url("https", *peer));
            let name = format!("m{number}");
            let mut command = member(folder.path(), &name, &client, &peer, &cluster.join(","));
            command.args(["--auto-tls", "--peer-auto-tls"]);
            Member::start(command)
        })
        .collect();
    for member in &members {
        assert!(wait(|| member.says("ready to serve client requests")));
    }
    for (number, (client, _)) in ports.iter().enumerate() {
        let mut command = etcdctl(&url("https", *client));
        command
            .arg("--cacert")
            .arg(folder.path().join(format!("m{number}/fixtures/client/cert.pem")));
        succeed(command.args(["put", &format!("k{number}"), "value"]));
    }
}

#[test]
fn bad_flags_end_as_etcd_ends() {
    let output = kvstore().arg("--nmae=x").output().expect("started");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.starts_with("flag provided but not defined: -nmae\n"),
        "{text}"
    );
    let output = kvstore()
        .arg("--discovery-srv=example.com")
        .output()
        .expect("started");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("\"msg\":\"failed to verify flags\""), "{text}");
    assert!(text.contains("--discovery-srv is not supported"), "{text}");
}

#[test]
fn version_and_help_are_told() {
    let version = succeed(kvstore().arg("--version"));
    assert!(version.starts_with("etcd Version: 3."), "{version}");
    let help = succeed(kvstore().arg("-h"));
    for flag in ["--listen-client-urls", "--wal-dir", "--experimental-max-learners"] {
        assert!(help.contains(flag), "{flag}");
    }
}
