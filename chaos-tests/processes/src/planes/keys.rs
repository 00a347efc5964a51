//! The cluster's keys: made by `trireme keys`, shown by everybody who asks.

use anyhow::{Context as _, ensure};
use kubeclient::{ClientConfig, Credentials};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::Env;
use support::tls::{CertificateAuthority, CertificateRequest, ClientTls, Identity, Usage};

/// Longer than any run.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// The folder with all keys.
pub struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// Has `program` make the keys of servers at these addresses.
    ///
    /// # Errors
    /// When it can't be started or refuses.
    pub fn make(program: &Path, folder: &Path, addresses: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.arg("keys").arg("--pki").arg(folder);
        for address in addresses {
            command.args(["--address", address]);
        }
        let output = command.output().with_context(|| {
            format!(
                "{}: is it built (`cargo build --workspace --bins`)?",
                program.display()
            )
        })?;
        ensure!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The administrator's.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.conf")
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        let path = self.folder.join(file);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    fn identity(&self, holder: &str) -> anyhow::Result<Identity> {
        Ok(Identity {
            cert_pem: self.read(&format!("{holder}.crt"))?,
            key_pem: self.read(&format!("{holder}.key"))?,
        })
    }

    pub fn ca(&self) -> anyhow::Result<String> {
        self.read("ca.crt")
    }

    /// An administrator who knows these API servers.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn admin(&self, servers: &[String]) -> anyhow::Result<ClientConfig> {
        Ok(ClientConfig {
            servers: servers.to_vec(),
            ca_pem: Some(self.ca()?),
            credentials: Credentials::Certificate(self.identity("admin")?),
            user_agent: "chaos-processes".to_owned(),
        })
    }

    /// A client of the store.
    ///
    /// # Errors
    /// When a file can't be read or used.
    pub fn store_client(&self) -> anyhow::Result<ClientTls> {
        let identity = self.identity("apiserver-store-client")?;
        Ok(ClientTls::new(&self.read("store-ca.crt")?, Some(&identity))?)
    }

    /// The certificate of a node that has joined.
    ///
    /// # Errors
    /// When the authority's files can't be read or used.
    pub fn node(&self, name: &str, env: &Env) -> anyhow::Result<Identity> {
        let authority = CertificateAuthority::from_pem(&self.ca()?, &self.read("ca.key")?)?;
        let request = CertificateRequest {
            common_name: format!("system:node:{name}"),
            organizations: vec!["system:nodes".to_owned()],
            subject_alt_names: Vec::new(),
            usage: Usage::Client,
            validity: VALIDITY,
        };
        Ok(authority.issue(&request, env.clock.now())?)
    }
}
