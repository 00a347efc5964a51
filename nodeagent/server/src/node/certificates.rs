//! The node's certificates: requested from the cluster, kept on disk, renewed before they end.
//!
//! Follows kubelet `pkg/kubelet/certificate`: keys are made here and never leave; renewal starts at a random
//! point between 70 and 90 % of a certificate's life.

use crate::NodeAgentConfig;
use anyhow::{Context as _, bail};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, PostParams};
use kubeclient::{ClientConfig, Credentials};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;
use support::tls::Identity;
use support::{Backoff, Env};
use tokio::time::{Instant, sleep};

const POLL: Duration = Duration::from_millis(250);
/// A request that nobody answers is made again; upstream waits 15 minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(900);
const RETRY_INITIAL: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Client,
    Serving,
}

impl Purpose {
    fn file(self) -> &'static str {
        match self {
            Self::Client => "kubelet-client.pem",
            Self::Serving => "kubelet-server.pem",
        }
    }

    fn signer(self) -> &'static str {
        match self {
            Self::Client => "kubernetes.io/kube-apiserver-client-kubelet",
            Self::Serving => "kubernetes.io/kubelet-serving",
        }
    }

    fn usages(self) -> Vec<String> {
        let auth = match self {
            Self::Client => "client auth",
            Self::Serving => "server auth",
        };
        vec!["digital signature".to_owned(), auth.to_owned()]
    }
}

/// One certificate of the node, on disk.
pub(crate) struct Certificates {
    purpose: Purpose,
    path: PathBuf,
    node_name: String,
    node_ip: String,
    env: Env,
}

/// Life span of a certificate.
struct Validity {
    from: Timestamp,
    until: Timestamp,
}

impl Certificates {
    pub fn new(config: &NodeAgentConfig, env: &Env, purpose: Purpose) -> Self {
        Self {
            purpose,
            path: config.pki_dir().join(purpose.file()),
            node_name: config.node_name.clone(),
            node_ip: config.node_ip.to_string(),
            env: env.clone(),
        }
    }

    /// The one on disk, while it is good.
    pub fn load(&self) -> Option<Identity> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let (cert_pem, key_pem) = split(&text)?;
        let valid = validity(&cert_pem)?;
        let now = self.env.clock.now();
        (valid.from <= now && now < valid.until).then_some(Identity { cert_pem, key_pem })
    }

    /// Asks the cluster for a new one and keeps it.
    ///
    /// # Errors
    /// When it is denied, not answered, or cannot be kept.
    pub async fn request(&self, client: &Client) -> anyhow::Result<Identity> {
        let key = KeyPair::generate()?;
        let request = self.request_text(&key)?;
        let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
        let object = CertificateSigningRequest {
            metadata: ObjectMeta {
                generate_name: Some("csr-".to_owned()),
                ..ObjectMeta::default()
            },
            spec: CertificateSigningRequestSpec {
                request: ByteString(request.into_bytes()),
                signer_name: self.purpose.signer().to_owned(),
                usages: Some(self.purpose.usages()),
                ..CertificateSigningRequestSpec::default()
            },
            status: None,
        };
        let created = requests.create(&PostParams::default(), &object).await?;
        let name = created.metadata.name.context("a request without a name")?;
        let cert_pem = wait_for_answer(&requests, &name).await?;
        let identity = Identity {
            cert_pem,
            key_pem: key.serialize_pem(),
        };
        self.keep(&identity)?;
        Ok(identity)
    }

    fn request_text(&self, key: &KeyPair) -> anyhow::Result<String> {
        let names = match self.purpose {
            Purpose::Client => Vec::new(),
            Purpose::Serving => vec![self.node_name.clone(), self.node_ip.clone()],
        };
        let mut params = CertificateParams::new(names)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, "system:nodes");
        subject.push(DnType::CommonName, format!("system:node:{}", self.node_name));
        params.distinguished_name = subject;
        Ok(params.serialize_request(key)?.pem()?)
    }

    /// One that nobody signed, until the cluster has (upstream serves with such a one by default).
    ///
    /// # Errors
    /// When no key can be made.
    pub fn self_signed(&self) -> anyhow::Result<Identity> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![self.node_name.clone(), self.node_ip.clone()])?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, format!("{}@self-signed", self.node_name));
        params.distinguished_name = subject;
        Ok(Identity {
            cert_pem: params.self_signed(&key)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    fn keep(&self, identity: &Identity) -> anyhow::Result<()> {
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent)?;
            std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o700))?;
        }
        let fresh = self.path.with_extension("next");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        use std::io::Write as _;
        write!(file, "{}{}", identity.cert_pem, identity.key_pem)?;
        // A power loss must not leave half a key under the final name.
        file.sync_all()?;
        std::fs::rename(fresh, &self.path)?;
        Ok(())
    }

    /// Renews before the end, for ever; hands each new one to `use_it`. `current` is `None` when there is
    /// none yet: it is requested at once.
    pub async fn rotate(
        &self,
        client: &Client,
        current: Option<Identity>,
        mut use_it: impl FnMut(&Identity),
    ) {
        let mut backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX, self.env.random.fork());
        let mut wait = current.as_ref().map_or(Duration::ZERO, |c| self.renew_in(c));
        loop {
            sleep(wait).await;
            match self.request(client).await {
                Ok(identity) => {
                    tracing::info!(purpose = ?self.purpose, "new certificate");
                    use_it(&identity);
                    backoff.reset();
                    wait = self.renew_in(&identity);
                }
                Err(error) => {
                    tracing::warn!(purpose = ?self.purpose, error = %format!("{error:#}"), "no new certificate");
                    wait = backoff.delay();
                }
            }
        }
    }

    fn renew_in(&self, identity: &Identity) -> Duration {
        let Some(valid) = validity(&identity.cert_pem) else {
            return Duration::ZERO;
        };
        let life = valid.until.duration_since(valid.from);
        let share = 0.7 + 0.2 * (self.env.random.below(0..1000) as f64 / 1000.0);
        let at = valid.from.checked_add(life.mul_f64(share)).unwrap_or(valid.until);
        Duration::try_from(at.duration_since(self.env.clock.now())).unwrap_or(Duration::ZERO)
    }
}

/// The node's identity towards the API server: given, kept, or asked for with the bootstrap token.
///
/// # Errors
/// When there is none of these.
pub(crate) async fn client_identity(config: &NodeAgentConfig, env: &Env) -> anyhow::Result<Identity> {
    if let Some(identity) = &config.identity {
        return Ok(identity.clone());
    }
    let certificates = Certificates::new(config, env, Purpose::Client);
    if let Some(identity) = certificates.load() {
        return Ok(identity);
    }
    let Some(token) = &config.bootstrap_token else {
        bail!(
            "node {} has no certificate in {} and no token to ask for one",
            config.node_name,
            certificates.path.display()
        );
    };
    let client = kubeclient::client(
        env,
        &ClientConfig {
            servers: config.api_servers.clone(),
            ca_pem: config.ca_pem.clone(),
            credentials: Credentials::Token(token.clone()),
            user_agent: crate::USER_AGENT.to_owned(),
        },
    )?;
    let mut backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX, env.random.fork());
    loop {
        match certificates.request(&client).await {
            Ok(identity) => return Ok(identity),
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "the node cannot join yet");
                sleep(backoff.delay()).await;
            }
        }
    }
}

async fn wait_for_answer(requests: &Api<CertificateSigningRequest>, name: &str) -> anyhow::Result<String> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    loop {
        let request = requests.get(name).await?;
        let status = request.status.unwrap_or_default();
        for condition in status.conditions.iter().flatten() {
            if matches!(condition.type_.as_str(), "Denied" | "Failed") {
                let why = condition.message.clone().unwrap_or_default();
                bail!("certificate request {name} {}: {why}", condition.type_);
            }
        }
        if let Some(certificate) = status.certificate {
            return String::from_utf8(certificate.0).context("a certificate that is no text");
        }
        if Instant::now() > deadline {
            bail!("certificate request {name} was not answered");
        }
        sleep(POLL).await;
    }
}

/// Certificates, then the key.
fn split(text: &str) -> Option<(String, String)> {
    let at = text
        .find("-----BEGIN PRIVATE KEY-----")
        .or_else(|| text.find("-----BEGIN EC PRIVATE KEY-----"))?;
    let (cert, key) = text.split_at(at);
    Some((cert.to_owned(), key.to_owned()))
}

fn validity(cert_pem: &str) -> Option<Validity> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let valid = certificate.validity();
    Some(Validity {
        from: Timestamp::from_second(valid.not_before.timestamp()).ok()?,
        until: Timestamp::from_second(valid.not_after.timestamp()).ok()?,
    })
}
