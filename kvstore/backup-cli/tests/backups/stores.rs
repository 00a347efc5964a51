//! Stores that can be started and stopped: members of ours, and Debian's etcd.

use kvstore_backup_cli::{Command, run};
use kvstore_server::{ClusterPeer, DataDir, Member, MemberConfig};
use kvstore_storage::RocksOptions;
use proto::etcdserverpb::RangeRequest;
use proto::etcdserverpb::kv_client::KvClient;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::Env;
use test_ports::free_address;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// How long anything in these tests may take, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn channel(address: &str) -> Channel {
    support::grpc_channel(&Env::production(), address, None)
}

/// Waits until the store at `address` answers linearizable reads.
pub async fn wait_ready(address: &str) {
    let deadline = Instant::now() + PATIENCE;
    let request = RangeRequest {
        key: "ready".into(),
        ..RangeRequest::default()
    };
    while let Err(status) = KvClient::new(channel(address)).range(request.clone()).await {
        // It asks who we are: so it is there.
        if status.message() == "etcdserver: user name is empty" {
            return;
        }
        assert!(Instant::now() < deadline, "{address}: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A running member of ours.
pub struct Ours {
    runtime: Option<Runtime>,
    cancel: CancellationToken,
    pub address: String,
}

impl Ours {
    /// A member alone, with its data in `folder`, called as etcd calls one by default.
    pub fn alone(folder: &Path) -> Self {
        Self::start(&alone(folder))
    }

    pub fn start(config: &MemberConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let cancel = CancellationToken::new();
        let member = Member::new(config.clone(), Env::production()).unwrap();
        let stop = cancel.clone();
        runtime.spawn(async move {
            if let Err(error) = member.run(stop).await {
                eprintln!("a member stopped: {error}");
            }
        });
        Self {
            runtime: Some(runtime),
            cancel,
            address: config.client_listen[0].clone(),
        }
    }
}

impl Drop for Ours {
    /// On a thread of its own, because a test may drop it where blocking isn't allowed.
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(runtime) = self.runtime.take() {
            let ending = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(10)));
            ending.join().expect("a runtime shuts down");
        }
    }
}

pub fn alone(folder: &Path) -> MemberConfig {
    let data = DataDir::Directory(folder.to_owned(), RocksOptions::default());
    MemberConfig {
        cluster_token: "etcd-cluster".to_owned(),
        initial_cluster: vec![ClusterPeer::new("default", "http://localhost:2380")],
        ..MemberConfig::single("default", data, &free_address())
    }
}

/// A running etcd.
pub struct Etcd {
    child: Child,
    pub address: String,
}

impl Etcd {
    /// One member, with its data in `folder`.
    pub fn start(folder: &Path) -> Self {
        let (client, peer) = (free_address(), free_address());
        let child = std::process::Command::new("etcd")
            .arg("--data-dir")
            .arg(folder)
            .args(["--listen-client-urls", &format!("http://{client}")])
            .args(["--advertise-client-urls", &format!("http://{client}")])
            .args(["--listen-peer-urls", &format!("http://{peer}")])
            // A restored folder has a cluster already; this is for a fresh one.
            .args(["--initial-advertise-peer-urls", "http://localhost:2380"])
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed (Debian's etcd-server)");
        Self {
            child,
            address: client,
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian's etcdctl; gives standard output.
pub fn etcdctl(args: &[&str]) -> String {
    let output = std::process::Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--command-timeout", "30s", "--dial-timeout", "30s"])
        .args(args)
        .output()
        .expect("etcdctl is installed (Debian's etcd-client)");
    assert!(
        output.status.success(),
        "{args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs one of our commands, from its arguments.
pub async fn command(args: &[&str]) -> Result<(), String> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }
    let line = <Line as clap::Parser>::try_parse_from(["snapshot"].iter().chain(args))
        .map_err(|error| error.to_string())?;
    run(line.command, &Env::production())
        .await
        .map_err(|error| error.to_string())
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
