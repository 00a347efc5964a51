//! TLS of both sides, from the files that flags name or from certificates made for it (etcd
//! `client/pkg/transport/listener.go`).

use crate::options::{Options, Refusal};
use crate::settings::Settings;
use crate::url::{Scheme, Url};
use kvstore_server::PeerTls;
use std::error::Error as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::Env;
use support::tls::{
    Allowed, CertificateRequest, ClientTls, IdentityFiles, ServerTls, TlsError, TlsFiles, TlsPolicy,
    TlsVersion, Trust, Usage, is_cipher_suite, self_signed,
};

/// Cipher suites that Go knows and rustls, for their weakness, doesn't.
const UNSOUND_SUITES: [&str; 16] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The files of one side, and how its flags begin.
struct Side<'a> {
    settings: &'a Settings,
    /// Of `cert-file`: empty or `peer-`.
    prefix: &'static str,
    /// Of `crl-file` and `cert-allowed-cn`: `client-` or `peer-`.
    about: &'static str,
}

impl Side<'_> {
    fn file(&self, name: &str) -> Option<PathBuf> {
        let path = self.settings.text(&format!("{}{name}", self.prefix));
        (!path.is_empty()).then(|| path.into())
    }

    fn identity(&self, cert: &str, key: &str) -> Option<IdentityFiles> {
        Some(IdentityFiles {
            cert: self.file(cert)?,
            key: self.file(key)?,
        })
    }

    /// Who may connect; `None`: anyone, without a certificate.
    fn callers(&self) -> Option<Trust> {
        match self.file("trusted-ca-file") {
            Some(path) => Some(Trust::File(path)),
            None => self
                .settings
                .bool(&format!("{}client-cert-auth", self.prefix))
                .then_some(Trust::System),
        }
    }

    fn revoked(&self) -> Option<PathBuf> {
        let path = self.settings.text(&format!("{}crl-file", self.about));
        (!path.is_empty()).then(|| path.into())
    }

    fn policy(&self) -> Result<TlsPolicy, Refusal> {
        let names = |what: &str| self.settings.list(&format!("{}cert-allowed-{what}", self.about));
        let allowed = match (names("cn"), names("hostname")) {
            (names, hosts) if names.is_empty() && hosts.is_empty() => Allowed::Anyone,
            (names, hosts) if hosts.is_empty() => Allowed::CommonNames(names),
            (_, hosts) => Allowed::Hostnames(hosts),
        };
        Ok(TlsPolicy {
            min: version(&self.settings.text("tls-min-version")),
            max: version(&self.settings.text("tls-max-version")),
            cipher_suites: suites(self.settings.list("cipher-suites"))?,
            allowed,
        })
    }
}

impl Options {
    fn client_side(&self) -> Side<'_> {
        Side {
            settings: &self.settings,
            prefix: "",
            about: "client-",
        }
    }

    fn peer_side(&self) -> Side<'_> {
        Side {
            settings: &self.settings,
            prefix: "peer-",
            about: "peer-",
        }
    }

    /// The clients' side; `None` when no listener needs it.
    pub(crate) fn client_tls(&self, env: &Env) -> Result<Option<ServerTls>, Refusal> {
        let listeners: Vec<&Url> = self
            .listen_client
            .iter()
            .chain(&self.listen_client_http)
            .chain(&self.listen_metrics)
            .collect();
        if !listeners.iter().any(|url| url.is_secure()) {
            return Ok(None);
        }
        let side = self.client_side();
        let identity = match side.identity("cert-file", "key-file") {
            Some(identity) => identity,
            None => self.made("client", &listeners, env)?,
        };
        let files = TlsFiles {
            identity,
            trust: side.callers(),
            revoked: side.revoked(),
        };
        ServerTls::from_files(files, side.policy()?)
            .map(Some)
            .map_err(refusal)
    }

    /// The members' side; `None` when they talk without TLS.
    pub(crate) fn peer_tls(&self, env: &Env) -> Result<Option<PeerTls>, Refusal> {
        let remote: Vec<&Url> = self
            .initial_cluster
            .values()
            .flatten()
            .chain(&self.advertise_peer)
            .collect();
        let secure = remote.iter().any(|url| url.is_secure());
        if secure && let Some(url) = remote.iter().find(|url| url.scheme() == Scheme::Http) {
            return Err(Refusal(format!(
                "peer URLs of both http and https are not supported (http: {url})"
            )));
        }
        if !secure && !self.listen_peer.iter().any(Url::is_secure) {
            return Ok(None);
        }
        let side = self.peer_side();
        let given = side.identity("cert-file", "key-file");
        let made = given.is_none();
        let identity = match given {
            Some(identity) => identity,
            None if self.settings.bool("peer-auto-tls") => {
                self.made("peer", &self.listen_peer.iter().collect::<Vec<_>>(), env)?
            }
            None => {
                return Err(Refusal::new(
                    "peer URLs are https, but there is neither --peer-cert-file nor --peer-auto-tls",
                ));
            }
        };
        let server = TlsFiles {
            identity: identity.clone(),
            trust: side.callers(),
            revoked: side.revoked(),
        };
        let client = TlsFiles {
            identity: side
                .identity("client-cert-file", "client-key-file")
                .unwrap_or(identity),
            trust: Some(match side.file("trusted-ca-file") {
                Some(path) => Trust::File(path),
                // Nobody can know the certificates that members have made for themselves.
                None if made => Trust::Anyone,
                None => Trust::System,
            }),
            revoked: None,
        };
        let policy = side.policy()?;
        Ok(Some(PeerTls {
            server: ServerTls::from_files(server, policy.clone()).map_err(refusal)?,
            client: ClientTls::from_files(client, policy).map_err(refusal)?,
        }))
    }

    /// A certificate for these listeners, made at the first start and kept in the data folder.
    fn made(&self, side: &str, listeners: &[&Url], env: &Env) -> Result<IdentityFiles, Refusal> {
        let folder = self.data_dir.join("fixtures").join(side);
        let files = IdentityFiles {
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        if files.cert.exists() && files.key.exists() {
            return Ok(files);
        }
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        names.extend(
            listeners
                .iter()
                .filter(|url| !url.is_socket())
                .map(|url| url.hostname().to_owned()),
        );
        names.sort();
        names.dedup();
        let years = u32::try_from(self.settings.uint("self-signed-cert-validity")).unwrap_or(u32::MAX);
        if years == 0 {
            return Err(Refusal::new(
                "selfSignedCertValidity is invalid,it should be greater than 0",
            ));
        }
        let request = CertificateRequest {
            common_name: self.name.clone(),
            organizations: vec!["etcd".to_owned()],
            subject_alt_names: names,
            usage: Usage::Peer,
            validity: YEAR.saturating_mul(years.min(1_000)),
        };
        let identity = self_signed(&request, env.clock.now()).map_err(refusal)?;
        // The key first: a certificate without its key would look complete.
        write(&files.key, &identity.key_pem, 0o600)?;
        write(&files.cert, &identity.cert_pem, 0o644)?;
        tracing::warn!(cert = %files.cert.display(), years, "automatically generated certificate");
        Ok(files)
    }
}

fn version(text: &str) -> Option<TlsVersion> {
    match text {
        "TLS1.2" => Some(TlsVersion::V1_2),
        "TLS1.3" => Some(TlsVersion::V1_3),
        _ => None,
    }
}

/// IANA names; two of Go's are shorter.
fn suites(names: Vec<String>) -> Result<Vec<String>, Refusal> {
    names
        .into_iter()
        .map(|name| {
            let name = if name.ends_with("_WITH_CHACHA20_POLY1305") {
                format!("{name}_SHA256")
            } else {
                name
            };
            if is_cipher_suite(&name) {
                return Ok(name);
            }
            Err(Refusal(match UNSOUND_SUITES.contains(&name.as_str()) {
                true => format!("TLS cipher suite {name:?} is not supported: it is no longer sound"),
                false => format!("unexpected TLS cipher suite {name:?}"),
            }))
        })
        .collect()
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Refusal> {
    let written = (|| {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let mut file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })();
    written.map_err(|error| Refusal(format!("{}: {error}", path.display())))
}

/// With the reason behind it: a file that isn't there is told as such.
fn refusal(error: TlsError) -> Refusal {
    match error.source() {
        Some(source) => Refusal(format!("{error}: {source}")),
        None => Refusal(error.to_string()),
    }
}
