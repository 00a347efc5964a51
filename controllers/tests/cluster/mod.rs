//! A real control plane in this process: Debian's etcd behind our API server, with the controllers on top.

use apiserver_server::{ApiServer, ApiServerConfig, FrontLimits, ServiceAccountConfig, StoreConfig};
use controllers::{Config, ControllerManager, SigningConfig};
use kube::Client;
use kubeclient::{ClientConfig, Credentials};
use std::future::Future;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::Env;
use support::tls::{CertificateAuthority, CertificateRequest, Identity, Usage};
use tempfile::TempDir;
use test_ports::free_port;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Every condition must hold within this time; the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(120);

pub struct Cluster {
    pub client: Client,
    cancel: CancellationToken,
    etcd: Child,
    _folder: TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.cancel.cancel();
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}

impl Cluster {
    pub async fn start() -> Self {
        let env = Env::production();
        let folder = tempfile::tempdir().unwrap();
        let (store, peer) = (free_port(), free_port());
        let etcd = start_etcd(folder.path(), store, peer);
        let authority = CertificateAuthority::generate("kubernetes", env.clock.now()).unwrap();
        let config = ApiServerConfig {
            listen: vec!["127.0.0.1:0".into()],
            advertise_address: "127.0.0.1".into(),
            advertise_port: None,
            serving: Some(issue(&authority, &env, "apiserver", "trireme", Usage::Server)),
            static_tokens: std::collections::BTreeMap::new(),
            client_ca_pem: authority.cert_pem().to_owned(),
            store: StoreConfig {
                endpoints: vec![format!("127.0.0.1:{store}")],
                tls: None,
                encryption_key: None,
            },
            service_account: ServiceAccountConfig {
                signing_key_pem: rcgen::KeyPair::generate().unwrap().serialize_pem(),
                issuer: "https://kubernetes.default.svc.cluster.local".into(),
            },
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ports: 30000..=32767,
            kubelet: None,
            limits: FrontLimits::default(),
        };
        wait("the store to listen", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", store)).await.ok()
        })
        .await;
        let bound = ApiServer::new(config, env.clone()).unwrap().bind().await.unwrap();
        let address = bound.addresses()[0];
        let cancel = CancellationToken::new();
        tokio::spawn(bound.run(cancel.clone()));
        let connect = ClientConfig {
            servers: vec![address.to_string()],
            ca_pem: Some(authority.cert_pem().to_owned()),
            credentials: Credentials::Certificate(issue(
                &authority,
                &env,
                "admin",
                "system:masters",
                Usage::Client,
            )),
            user_agent: "controllers-test".into(),
        };
        let client = kubeclient::client(&env, &connect).unwrap();
        let mut config = Config::new(connect, "test");
        config.root_ca_pem = Some(authority.cert_pem().to_owned());
        config.cluster_cidr = Some("10.244.0.0/16".into());
        config.signing = Some(SigningConfig {
            cert_pem: authority.cert_pem().to_owned(),
            key_pem: authority.key_pem().to_owned(),
            duration: Duration::from_secs(3600),
        });
        let manager = ControllerManager::new(config, env).unwrap();
        tokio::spawn(manager.run(cancel.clone()));
        Self {
            client,
            cancel,
            etcd,
            _folder: folder,
        }
    }
}

fn issue(authority: &CertificateAuthority, env: &Env, name: &str, group: &str, usage: Usage) -> Identity {
    let request = CertificateRequest {
        common_name: name.to_owned(),
        organizations: vec![group.to_owned()],
        subject_alt_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        usage,
        validity: Duration::from_secs(24 * 3600),
    };
    authority.issue(&request, env.clock.now()).unwrap()
}

fn start_etcd(folder: &std::path::Path, client: u16, peer: u16) -> Child {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    Command::new("/usr/bin/etcd")
        .args(["--data-dir", folder.join("etcd").to_str().unwrap()])
        .args([
            "--listen-client-urls",
            &url(client),
            "--advertise-client-urls",
            &url(client),
        ])
        .args([
            "--listen-peer-urls",
            &url(peer),
            "--initial-advertise-peer-urls",
            &url(peer),
        ])
        .args(["--initial-cluster", &format!("default={}", url(peer))])
        .args(["--unsafe-no-fsync", "--logger", "zap", "--log-level", "error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd is installed (Debian package etcd-server)")
}

/// Asks until there is an answer.
pub async fn wait<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
