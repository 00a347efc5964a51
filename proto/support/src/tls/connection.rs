//! Both ends of a TLS connection over any byte stream.

use super::authorities::Authorities;
use super::check::{ClientCheck, Conditions, ServerCheck};
use super::files::TlsFiles;
use super::pem_text::parse;
use super::policy::TlsPolicy;
use super::reload::Reloading;
use super::{Identity, TlsError};
use crate::BoxedIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The subject of a verified client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    pub common_name: String,
    pub organizations: Vec<String>,
}

/// The client's side: whom to trust, and who we are.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<Reloading<ClientConfig>>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientTls { .. }")
    }
}

impl ClientTls {
    /// Trusts servers certified by `ca_pem`; shows `identity` when asked. Offers h2 and HTTP/1.1.
    ///
    /// # Errors
    /// When a PEM text can't be parsed.
    pub fn new(ca_pem: &str, identity: Option<&Identity>) -> Result<Self, TlsError> {
        Self::with_alpn(ca_pem, identity, &[b"h2"])
    }

    /// As [`ClientTls::new`] with a choice of application protocols, most wanted first.
    ///
    /// # Errors
    /// When a PEM text can't be parsed.
    pub fn with_alpn(ca_pem: &str, identity: Option<&Identity>, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let (policy, conditions) = (TlsPolicy::default(), Conditions::default());
        let config = client_config(Some(ca_pem), identity, conditions, &policy, alpn)?;
        Ok(Self {
            config: Arc::new(Reloading::fixed(config)),
        })
    }

    /// A client that shows the identity of `files` and trusts whom they say; it follows their changes.
    ///
    /// # Errors
    /// When a file can't be read or doesn't fit the others.
    pub fn from_files(files: TlsFiles, policy: TlsPolicy) -> Result<Self, TlsError> {
        let config = Reloading::following(files.paths(), move || {
            let (authorities, identity) = (files.read_authorities()?, files.identity.read()?);
            let conditions = Conditions {
                allowed: policy.allowed.clone(),
                revoked: files.read_revoked()?,
            };
            let authorities = authorities.as_deref();
            client_config(authorities, Some(&identity), conditions, &policy, &[b"h2"])
        })?;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// The configuration, for libraries that make connections themselves.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.current()
    }

    /// Handshakes as a client of `address` (`host:port`), whose certificate must name that host.
    ///
    /// # Errors
    /// When the host isn't a valid name or the handshake fails.
    pub async fn connect(&self, address: &str, stream: BoxedIo) -> io::Result<BoxedIo> {
        // A socket may be called as a host and its port.
        let address = address.strip_prefix("unix:").unwrap_or(address);
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name =
            ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Box::new(
            TlsConnector::from(self.config()).connect(name, stream).await?,
        ))
    }
}

/// The server's side. Replaceable while serving: new connections use the newest certificate.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<Reloading<ServerConfig>>,
    client_ca: Option<String>,
    client_required: bool,
}

impl ServerTls {
    /// Shows `identity`; checks client certificates against `client_ca`, which every client must show
    /// when `client_required`.
    ///
    /// # Errors
    /// When a PEM text can't be parsed.
    pub fn new(
        identity: &Identity,
        client_ca: Option<&str>,
        client_required: bool,
    ) -> Result<Self, TlsError> {
        let config = plain_server_config(identity, client_ca, client_required)?;
        Ok(Self {
            config: Arc::new(Reloading::fixed(config)),
            client_ca: client_ca.map(str::to_owned),
            client_required,
        })
    }

    /// A server that shows the identity of `files`, requires what they trust, and follows their changes.
    ///
    /// # Errors
    /// When a file can't be read or doesn't fit the others.
    pub fn from_files(files: TlsFiles, policy: TlsPolicy) -> Result<Self, TlsError> {
        let config = Reloading::following(files.paths(), move || {
            let (authorities, identity) = (files.read_authorities()?, files.identity.read()?);
            let conditions = Conditions {
                allowed: policy.allowed.clone(),
                revoked: files.read_revoked()?,
            };
            server_config(&identity, authorities.as_deref(), true, conditions, &policy)
        })?;
        Ok(Self {
            config: Arc::new(config),
            client_ca: None,
            client_required: false,
        })
    }

    /// Serves new connections with `identity` from now on. Not for a server that follows files.
    ///
    /// # Errors
    /// When a PEM text can't be parsed; the old certificate stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        let config = plain_server_config(identity, self.client_ca.as_deref(), self.client_required)?;
        self.config.replace(config);
        Ok(())
    }

    /// Handshakes as a server.
    ///
    /// # Errors
    /// When the handshake fails or the client's certificate isn't trusted.
    pub async fn accept(&self, stream: BoxedIo) -> io::Result<(BoxedIo, Option<PeerIdentity>)> {
        let stream = TlsAcceptor::from(self.config.current()).accept(stream).await?;
        let identity = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first)
            .and_then(|c| peer_identity(c));
        Ok((Box::new(stream), identity))
    }
}

/// The subject of a DER certificate; `None` when it has no common name.
pub fn peer_identity(der: &[u8]) -> Option<PeerIdentity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let common_name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let organizations = subject
        .iter_organization()
        .filter_map(|o| o.as_str().ok().map(str::to_owned))
        .collect();
    Some(PeerIdentity {
        common_name,
        organizations,
    })
}

/// Without authorities every server is trusted.
fn client_config(
    ca_pem: Option<&str>,
    identity: Option<&Identity>,
    conditions: Conditions,
    policy: &TlsPolicy,
    alpn: &[&[u8]],
) -> Result<ClientConfig, TlsError> {
    let provider = policy.provider()?;
    let inner: Option<(Arc<dyn ServerCertVerifier>, Authorities)> = match ca_pem {
        Some(ca_pem) => {
            let authorities = Authorities::from_pem(ca_pem)?;
            let roots = Arc::clone(&authorities.roots);
            let verifier =
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
            Some((verifier, authorities))
        }
        None => None,
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&policy.versions())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerCheck {
            inner,
            conditions,
            provider,
        }));
    let mut config = match identity {
        Some(identity) => {
            let (chain, key) = parse(identity)?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(config)
}

fn plain_server_config(
    identity: &Identity,
    client_ca: Option<&str>,
    client_required: bool,
) -> Result<ServerConfig, TlsError> {
    let (policy, conditions) = (TlsPolicy::default(), Conditions::default());
    server_config(identity, client_ca, client_required, conditions, &policy)
}

fn server_config(
    identity: &Identity,
    client_ca: Option<&str>,
    client_required: bool,
    conditions: Conditions,
    policy: &TlsPolicy,
) -> Result<ServerConfig, TlsError> {
    let provider = policy.provider()?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&policy.versions())?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca_pem) => {
            let authorities = Authorities::from_pem(ca_pem)?;
            let roots = Arc::clone(&authorities.roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if client_required {
                verifier
            } else {
                verifier.allow_unauthenticated()
            };
            builder.with_client_cert_verifier(Arc::new(ClientCheck {
                inner: verifier.build()?,
                authorities,
                conditions,
            }))
        }
    };
    let (chain, key) = parse(identity)?;
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use crate::tls::{
        CertificateAuthority, CertificateRequest, ClientTls, Identity, PeerIdentity, ServerTls, Usage,
    };
    use jiff::Timestamp;
    use std::time::Duration;

    fn issue(ca: &CertificateAuthority, name: &str, usage: Usage) -> Identity {
        let request = CertificateRequest {
            common_name: name.to_owned(),
            organizations: vec!["system:nodes".to_owned()],
            subject_alt_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            usage,
            validity: Duration::from_secs(3600),
        };
        ca.issue(&request, Timestamp::now()).expect("a valid request")
    }

    async fn handshake(client: ClientTls, server: ServerTls) -> std::io::Result<Option<PeerIdentity>> {
        let (near, far) = tokio::io::duplex(64 << 10);
        let (connected, accepted) = tokio::join!(
            client.connect("127.0.0.1:1", Box::new(near)),
            server.accept(Box::new(far))
        );
        connected?;
        accepted.map(|(_, identity)| identity)
    }

    #[tokio::test]
    async fn both_ends_prove_who_they_are() {
        let ca = CertificateAuthority::generate("test", Timestamp::now()).expect("a root");
        let server =
            ServerTls::new(&issue(&ca, "server", Usage::Server), Some(ca.cert_pem()), true).expect("tls");
        let client =
            ClientTls::new(ca.cert_pem(), Some(&issue(&ca, "system:node:a", Usage::Client))).expect("tls");
        let identity = handshake(client, server)
            .await
            .expect("a handshake")
            .expect("an identity");
        assert_eq!(identity.common_name, "system:node:a");
        assert_eq!(identity.organizations, ["system:nodes"]);
    }

    #[tokio::test]
    async fn a_stranger_is_refused() {
        let ca = CertificateAuthority::generate("test", Timestamp::now()).expect("a root");
        let other = CertificateAuthority::generate("other", Timestamp::now()).expect("a root");
        let server =
            ServerTls::new(&issue(&ca, "server", Usage::Server), Some(ca.cert_pem()), true).expect("tls");
        let client = ClientTls::new(ca.cert_pem(), Some(&issue(&other, "x", Usage::Client))).expect("tls");
        assert!(handshake(client, server).await.is_err());
    }
}
