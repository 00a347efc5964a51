//! An etcd process, API servers in this process, and a plain HTTPS client.

use apiserver_server::{
    ApiServer, ApiServerConfig, FrontLimits, KubeletConfig, ServiceAccountConfig, StoreConfig,
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::tls::{CertificateAuthority, CertificateRequest, ClientTls, Identity, Usage};
use support::{Env, Network as _, TokioNetwork};
use tempfile::TempDir;
use test_ports::free_port;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub const DEADLINE: Duration = Duration::from_secs(30);

/// Debian's etcd on a free port, with its own data folder.
pub struct Etcd {
    child: Child,
    pub address: String,
    peer: u16,
    folder: TempDir,
}

impl Etcd {
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let (address, peer) = (format!("127.0.0.1:{}", free_port()), free_port());
        let child = Self::spawn(&folder, &address, peer);
        let etcd = Self {
            child,
            address,
            peer,
            folder,
        };
        etcd.listening().await;
        etcd
    }

    fn spawn(folder: &TempDir, address: &str, peer: u16) -> Child {
        let (client_url, peer_url) = (format!("http://{address}"), format!("http://127.0.0.1:{peer}"));
        Command::new("etcd")
            .arg("--data-dir")
            .arg(folder.path())
            .args([
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
            ])
            .args([
                "--listen-peer-urls",
                &peer_url,
                "--initial-advertise-peer-urls",
                &peer_url,
            ])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed")
    }

    async fn listening(&self) {
        let deadline = Instant::now() + DEADLINE;
        while TokioNetwork.connect(&self.address).await.is_err() {
            assert!(Instant::now() < deadline, "etcd doesn't listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As a power cut.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Comes back with its data.
    pub async fn restart(&mut self) {
        self.child = Self::spawn(&self.folder, &self.address, self.peer);
        self.listening().await;
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One authority, one store, any number of API servers.
pub struct Cluster {
    pub etcd: Etcd,
    pub authority: CertificateAuthority,
    signing_key: String,
    folder: TempDir,
    pub servers: Vec<Server>,
}

pub struct Server {
    pub address: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    /// A clean stop, waited for.
    pub async fn stop(self) {
        self.cancel.cancel();
        let stopped = tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("stops in time");
        stopped.expect("no panic").expect("a clean stop");
    }
}

impl Cluster {
    /// A store with one ready API server.
    pub async fn start() -> Self {
        let mut cluster = Self::without_server().await;
        cluster.add_server().await;
        cluster
    }

    pub async fn without_server() -> Self {
        Self {
            etcd: Etcd::start().await,
            authority: CertificateAuthority::generate("kubernetes", jiff::Timestamp::now()).expect("a root"),
            signing_key: rcgen::KeyPair::generate().expect("a key").serialize_pem(),
            folder: TempDir::new().expect("a folder"),
            servers: Vec::new(),
        }
    }

    pub fn issue(&self, name: &str, group: &str, usage: Usage) -> Identity {
        let request = CertificateRequest {
            common_name: name.to_owned(),
            organizations: vec![group.to_owned()],
            subject_alt_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            usage,
            validity: Duration::from_secs(3600),
        };
        self.authority
            .issue(&request, jiff::Timestamp::now())
            .expect("a certificate")
    }

    pub async fn add_server(&mut self) {
        self.add_server_as("127.0.0.1").await;
    }

    /// A server that tells others to reach it at `advertised`.
    pub async fn add_server_as(&mut self, advertised: &str) {
        let config = ApiServerConfig {
            listen: vec!["127.0.0.1:0".to_owned()],
            advertise_address: advertised.to_owned(),
            advertise_port: (advertised != "127.0.0.1").then_some(6443),
            serving: Some(self.issue("apiserver", "trireme", Usage::Server)),
            static_tokens: std::collections::BTreeMap::new(),
            client_ca_pem: self.authority.cert_pem().to_owned(),
            store: StoreConfig {
                // The first member is never there: every server has to find the second.
                endpoints: vec!["127.0.0.1:1".to_owned(), self.etcd.address.clone()],
                tls: None,
                encryption_key: Some([3; 32]),
            },
            service_account: ServiceAccountConfig {
                signing_key_pem: self.signing_key.clone(),
                issuer: "https://kubernetes.default.svc".to_owned(),
            },
            service_cidr: "10.96.0.0/24".parse().expect("a range"),
            node_ports: 30000..=32767,
            kubelet: Some(KubeletConfig {
                client: self.issue("kube-apiserver-kubelet-client", "system:masters", Usage::Client),
                ca_pem: self.authority.cert_pem().to_owned(),
            }),
            limits: FrontLimits::default(),
        };
        let bound = ApiServer::new(config, Env::production())
            .expect("a config")
            .bind()
            .await
            .expect("listens");
        let address = bound.addresses()[0];
        let cancel = CancellationToken::new();
        let task = tokio::spawn(bound.run(cancel.clone()));
        self.servers.push(Server {
            address,
            cancel,
            task,
        });
        let client = self.client_to(self.servers.len() - 1, Some(&self.admin()));
        let deadline = Instant::now() + DEADLINE;
        loop {
            let (status, ..) = client.send(Method::GET, "/readyz", &[], Bytes::new()).await;
            if status == StatusCode::OK {
                return;
            }
            assert!(Instant::now() < deadline, "the API server doesn't get ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn admin(&self) -> Identity {
        self.issue("kubernetes-admin", "system:masters", Usage::Client)
    }

    pub fn client_to(&self, server: usize, identity: Option<&Identity>) -> Client {
        Client {
            address: self.servers[server].address.to_string(),
            tls: ClientTls::with_alpn(self.authority.cert_pem(), identity, &[b"http/1.1"]).expect("TLS"),
            token: None,
        }
    }

    /// The administrator's client.
    pub fn client(&self) -> Client {
        self.client_to(0, Some(&self.admin()))
    }

    /// Writes an administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let admin = self.admin();
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "t",
            "clusters": [{"name": "t", "cluster": {"server": format!("https://{}", self.servers[0].address),
                "certificate-authority-data": encode(self.authority.cert_pem())}}],
            "users": [{"name": "admin", "user": {"client-certificate-data": encode(&admin.cert_pem),
                "client-key-data": encode(&admin.key_pem)}}],
            "contexts": [{"name": "t", "context": {"cluster": "t", "user": "admin"}}],
        });
        let path = self.folder.path().join("kubeconfig");
        std::fs::write(&path, text.to_string()).expect("a kubeconfig");
        path
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// One request, one connection.
#[derive(Clone)]
pub struct Client {
    address: String,
    tls: ClientTls,
    pub token: Option<String>,
}

impl Client {
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> http::Response<Incoming> {
        let stream = TokioNetwork.connect(&self.address).await.expect("connects");
        let stream = self
            .tls
            .connect(&self.address, stream)
            .await
            .expect("a handshake");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("HTTP");
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        sender
            .send_request(request.body(Full::new(body)).expect("a request"))
            .await
            .expect("an answer")
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let response = self.open(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        (
            parts.status,
            parts.headers,
            body.collect().await.expect("a body").to_bytes(),
        )
    }

    /// Sends and decodes JSON.
    pub async fn json(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        self.typed(method, path, "application/json", body).await
    }

    pub async fn typed(&self, method: Method, path: &str, content_type: &str, body: &Value) -> (u16, Value) {
        let bytes = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let (status, _, body) = self
            .send(method, path, &[("content-type", content_type)], bytes)
            .await;
        let value = serde_json::from_slice(&body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&body)));
        (status.as_u16(), value)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.json(Method::GET, path, &Value::Null).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.json(Method::POST, path, &body).await
    }

    pub async fn create(&self, path: &str, body: Value) -> Value {
        let (code, created) = self.post(path, body).await;
        assert_eq!(code, 201, "{created}");
        created
    }

    /// Opens a watch.
    pub async fn watch(&self, path: &str) -> Watch {
        let response = self.open(Method::GET, path, &[], Bytes::new()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Watch {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }
}

/// An open watch, event by event.
pub struct Watch {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Watch {
    /// The next event; `None` when the watch ended.
    pub async fn next(&mut self) -> Option<Value> {
        tokio::time::timeout(DEADLINE, self.read())
            .await
            .expect("an event in time")
    }

    async fn read(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("an event"));
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// The next event as (type, name).
    pub async fn next_name(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}
