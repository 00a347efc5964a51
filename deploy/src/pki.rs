//! Keys and certificates of a cluster.
//!
//! - Two authorities: one for the Kubernetes API and its clients, one for the store. A client of the API
//!   can therefore not talk to the store.
//! - File names follow kubeadm where it has one. Private files have mode 0600 from the first byte on.
//! - What has less than a third of its life left is issued anew at the next [`Pki::ensure`]; authorities
//!   and the two symmetric secrets are made once and stay.

use crate::files;
use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::Random;
use support::tls::{CertificateAuthority, CertificateRequest, Identity, Usage};

const VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);
/// AES-256.
const ENCRYPTION_KEY_BYTES: usize = 32;
/// First address of the service network: the `kubernetes` Service.
const KUBERNETES_SERVICE: &str = "10.96.0.1";

/// The folder with a cluster's keys.
#[derive(Debug, Clone)]
pub struct Pki {
    folder: PathBuf,
}

/// Who shows a certificate to the API server, or is shown as it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    ApiServer,
    /// The API server as the kubelets' client.
    KubeletClient,
    Admin,
    ControllerManager,
    Scheduler,
    /// A store member, to its clients and its peers.
    StoreMember,
    /// The API server as the store's client.
    StoreClient,
}

const HOLDERS: [Holder; 7] = [
    Holder::ApiServer,
    Holder::KubeletClient,
    Holder::Admin,
    Holder::ControllerManager,
    Holder::Scheduler,
    Holder::StoreMember,
    Holder::StoreClient,
];

impl Holder {
    fn file(self) -> &'static str {
        match self {
            Self::ApiServer => "apiserver",
            Self::KubeletClient => "apiserver-kubelet-client",
            Self::Admin => "admin",
            Self::ControllerManager => "controller-manager",
            Self::Scheduler => "scheduler",
            Self::StoreMember => "store-member",
            Self::StoreClient => "apiserver-store-client",
        }
    }

    fn request(self, addresses: &[IpAddr]) -> CertificateRequest {
        let (common_name, organization, usage) = match self {
            Self::ApiServer => ("kube-apiserver", None, Usage::Server),
            Self::KubeletClient => (
                "kube-apiserver-kubelet-client",
                Some("system:masters"),
                Usage::Client,
            ),
            Self::Admin => ("kubernetes-admin", Some("system:masters"), Usage::Client),
            Self::ControllerManager => ("system:kube-controller-manager", None, Usage::Client),
            Self::Scheduler => ("system:kube-scheduler", None, Usage::Client),
            Self::StoreMember => ("store-member", None, Usage::Peer),
            Self::StoreClient => ("kube-apiserver", None, Usage::Client),
        };
        let mut names: Vec<String> = match self {
            Self::ApiServer => [
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
                KUBERNETES_SERVICE,
            ]
            .map(str::to_owned)
            .to_vec(),
            _ => Vec::new(),
        };
        if usage != Usage::Client {
            names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
            names.extend(addresses.iter().map(IpAddr::to_string));
        }
        CertificateRequest {
            common_name: common_name.to_owned(),
            organizations: organization.iter().map(|o| (*o).to_owned()).collect(),
            subject_alt_names: names,
            usage,
            validity: VALIDITY,
        }
    }

    fn is_of_store(self) -> bool {
        matches!(self, Self::StoreMember | Self::StoreClient)
    }
}

impl Pki {
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Makes what is missing and renews what is about to expire. Servers may be reached at `addresses`.
    ///
    /// # Errors
    /// When a file is damaged or can't be written.
    pub fn ensure(&self, addresses: &[IpAddr], random: &Random, now: Timestamp) -> anyhow::Result<()> {
        files::private_folder(&self.folder)?;
        let kubernetes = self.ensure_authority("ca", "kubernetes", now)?;
        let store = self.ensure_authority("store-ca", "trireme-store", now)?;
        for holder in HOLDERS {
            let authority = if holder.is_of_store() { &store } else { &kubernetes };
            self.ensure_certificate(holder, authority, addresses, now)?;
        }
        self.ensure_account_key(now)?;
        self.ensure_encryption_key(random)
    }

    /// Certificate of the authority of the Kubernetes API.
    pub fn ca(&self) -> anyhow::Result<String> {
        files::read(&self.path("ca.crt"))
    }

    pub fn ca_key(&self) -> anyhow::Result<String> {
        files::read(&self.path("ca.key"))
    }

    /// Certificate of the store's authority.
    pub fn store_ca(&self) -> anyhow::Result<String> {
        files::read(&self.path("store-ca.crt"))
    }

    pub fn identity(&self, holder: Holder) -> anyhow::Result<Identity> {
        let file = holder.file();
        Ok(Identity {
            cert_pem: files::read(&self.path(&format!("{file}.crt")))?,
            key_pem: files::read(&self.path(&format!("{file}.key")))?,
        })
    }

    /// Private key (PKCS#8, P-256) that signs service-account tokens.
    pub fn account_key(&self) -> anyhow::Result<String> {
        files::read(&self.path("sa.key"))
    }

    /// The key under which the API server encrypts Secrets in the store.
    pub fn encryption_key(&self) -> anyhow::Result<[u8; ENCRYPTION_KEY_BYTES]> {
        let path = self.path("encryption.key");
        let mut key = [0; ENCRYPTION_KEY_BYTES];
        hex::decode_to_slice(files::read(&path)?.trim(), &mut key)
            .with_context(|| format!("{} is damaged", path.display()))?;
        Ok(key)
    }

    fn ensure_authority(
        &self,
        file: &str,
        name: &str,
        now: Timestamp,
    ) -> anyhow::Result<CertificateAuthority> {
        let (cert, key) = (
            self.path(&format!("{file}.crt")),
            self.path(&format!("{file}.key")),
        );
        if cert.exists() {
            return CertificateAuthority::from_pem(&files::read(&cert)?, &files::read(&key)?)
                .with_context(|| format!("{} or its key is damaged", cert.display()));
        }
        let authority = CertificateAuthority::generate(name, now)?;
        // The key first: a certificate without its key would look complete.
        files::write(&key, authority.key_pem().as_bytes(), files::SECRET)?;
        files::write(&cert, authority.cert_pem().as_bytes(), files::PUBLIC)?;
        Ok(authority)
    }

    fn ensure_certificate(
        &self,
        holder: Holder,
        authority: &CertificateAuthority,
        addresses: &[IpAddr],
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let file = holder.file();
        let (cert, key) = (
            self.path(&format!("{file}.crt")),
            self.path(&format!("{file}.key")),
        );
        if cert.exists() && key.exists() && !is_due(&files::read(&cert)?, now)? {
            return Ok(());
        }
        let identity = authority.issue(&holder.request(addresses), now)?;
        files::write(&key, identity.key_pem.as_bytes(), files::SECRET)?;
        files::write(&cert, identity.cert_pem.as_bytes(), files::PUBLIC)
    }

    fn ensure_account_key(&self, _now: Timestamp) -> anyhow::Result<()> {
        if self.path("sa.pub").exists() {
            return Ok(());
        }
        let key = rcgen::KeyPair::generate()?;
        files::write(
            &self.path("sa.key"),
            key.serialize_pem().as_bytes(),
            files::SECRET,
        )?;
        files::write(
            &self.path("sa.pub"),
            key.public_key_pem().as_bytes(),
            files::PUBLIC,
        )
    }

    fn ensure_encryption_key(&self, random: &Random) -> anyhow::Result<()> {
        let path = self.path("encryption.key");
        if path.exists() {
            return Ok(());
        }
        let mut key = [0; ENCRYPTION_KEY_BYTES];
        random.fill(&mut key);
        files::write(&path, hex::encode(key).as_bytes(), files::SECRET)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }
}

/// Whether less than a third of the certificate's life is left.
fn is_due(cert_pem: &str, now: Timestamp) -> anyhow::Result<bool> {
    let block = pem::parse(cert_pem).context("a certificate in PEM")?;
    let (_, certificate) =
        x509_parser::parse_x509_certificate(block.contents()).context("a certificate in DER")?;
    let validity = certificate.validity();
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    ensure!(until > from, "a certificate that ends before it begins");
    Ok(until - now.as_second() < (until - from) / 3)
}

#[cfg(test)]
mod tests {
    use super::{Holder, Pki, VALIDITY};
    use jiff::{Timestamp, ToSpan as _};
    use std::os::unix::fs::PermissionsExt as _;
    use support::Random;

    #[test]
    fn what_is_good_stays_and_what_is_due_is_renewed() {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = Pki::new(folder.path());
        let (now, random) = (Timestamp::now(), Random::from_os());
        let addresses = ["10.200.0.1".parse().expect("an address")];
        pki.ensure(&addresses, &random, now).expect("made");
        let (ca, key) = (pki.ca().expect("ca"), pki.encryption_key().expect("key"));
        let first = pki.identity(Holder::Admin).expect("admin").cert_pem;
        pki.ensure(&addresses, &random, now).expect("kept");
        assert_eq!(pki.identity(Holder::Admin).expect("admin").cert_pem, first);

        let hours = i64::try_from(VALIDITY.as_secs() / 3600 * 3 / 4).expect("small");
        pki.ensure(&addresses, &random, now + hours.hours())
            .expect("renewed");
        assert_ne!(pki.identity(Holder::Admin).expect("admin").cert_pem, first);
        assert_eq!(pki.ca().expect("ca"), ca);
        assert_eq!(pki.encryption_key().expect("key"), key);
    }

    #[test]
    fn secrets_are_for_the_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        Pki::new(folder.path())
            .ensure(&[], &Random::from_os(), Timestamp::now())
            .expect("made");
        for entry in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
            let mode = entry.metadata().expect("a file").permissions().mode() & 0o777;
            let public = entry.path().extension().is_some_and(|e| e == "crt" || e == "pub");
            assert_eq!(
                mode,
                if public { 0o644 } else { 0o600 },
                "{}",
                entry.path().display()
            );
        }
    }
}
