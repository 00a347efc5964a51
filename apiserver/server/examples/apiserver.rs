//! Starts an API server over a running etcd v3 store, with keys and certificates of its own.
//!
//! `cargo run -p apiserver-server --example apiserver -- 127.0.0.1:2379 127.0.0.1:6443 /tmp/trireme-api` writes an
//! administrator's kubeconfig, the authority and the signing key into the folder; a second start with the same folder uses them.

use anyhow::Context as _;
use apiserver_server::{ApiServer, ApiServerConfig, FrontLimits, ServiceAccountConfig, StoreConfig};
use std::path::Path;
use std::time::Duration;
use support::Env;
use support::tls::{CertificateAuthority, CertificateRequest, Usage};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, listen, folder] = arguments.as_slice() else {
        anyhow::bail!("usage: apiserver STORE_HOST:PORT LISTEN_HOST:PORT FOLDER");
    };
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)?;
    let env = Env::production();
    let authority = authority(folder, &env)?;
    let issue = |name: &str, group: &str, usage| {
        let request = CertificateRequest {
            common_name: name.to_owned(),
            organizations: vec![group.to_owned()],
            subject_alt_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            usage,
            validity: Duration::from_secs(30 * 24 * 3600),
        };
        authority.issue(&request, env.clock.now())
    };
    let signing_key = read_or_make(&folder.join("sa.key"), || {
        Ok(rcgen::KeyPair::generate()?.serialize_pem())
    })?;
    let config = ApiServerConfig {
        listen: vec![listen.clone()],
        advertise_address: "127.0.0.1".to_owned(),
        advertise_port: None,
        serving: Some(issue("apiserver", "trireme", Usage::Server)?),
        static_tokens: std::collections::BTreeMap::new(),
        client_ca_pem: authority.cert_pem().to_owned(),
        store: StoreConfig {
            endpoints: store.split(',').map(str::to_owned).collect(),
            tls: None,
            encryption_key: None,
        },
        service_account: ServiceAccountConfig {
            signing_key_pem: signing_key,
            issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
        },
        service_cidr: "10.96.0.0/12".parse()?,
        node_ports: 30000..=32767,
        kubelet: None,
        limits: FrontLimits::default(),
    };
    let bound = ApiServer::new(config, env.clone())?.bind().await?;
    let address = bound.addresses().first().copied().context("no listener")?;
    let admin = issue("kubernetes-admin", "system:masters", Usage::Client)?;
    let encode = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: t\nclusters:\n- name: t\n  cluster:\n    server: \
         https://{address}\n    certificate-authority-data: {}\nusers:\n- name: admin\n  user:\n    \
         client-certificate-data: {}\n    client-key-data: {}\ncontexts:\n- name: t\n  context:\n    cluster: t\n    \
         user: admin\n",
        encode(authority.cert_pem()),
        encode(&admin.cert_pem),
        encode(&admin.key_pem),
    );
    std::fs::write(folder.join("kubeconfig"), kubeconfig)?;
    println!("https://{address} {}", folder.join("kubeconfig").display());
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
    bound.run(cancel).await
}

fn authority(folder: &Path, env: &Env) -> anyhow::Result<CertificateAuthority> {
    let (cert, key) = (folder.join("ca.crt"), folder.join("ca.key"));
    if cert.exists() {
        return Ok(CertificateAuthority::from_pem(
            &std::fs::read_to_string(cert)?,
            &std::fs::read_to_string(key)?,
        )?);
    }
    let authority = CertificateAuthority::generate("kubernetes", env.clock.now())?;
    std::fs::write(cert, authority.cert_pem())?;
    std::fs::write(key, authority.key_pem())?;
    Ok(authority)
}

fn read_or_make(path: &Path, make: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<String> {
    if !path.exists() {
        std::fs::write(path, make()?)?;
    }
    Ok(std::fs::read_to_string(path)?)
}
