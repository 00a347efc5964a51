//! Both ends of a TLS connection over any byte stream.

use super::{Identity, TlsError};
use crate::BoxedIo;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The subject of a verified client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    pub common_name: String,
    pub organizations: Vec<String>,
}

/// The client's side: whom to trust, and who we are.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
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
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(ca_pem)?);
        let mut config = match identity {
            Some(identity) => {
                let (chain, key) = parse(identity)?;
                builder.with_client_auth_cert(chain, key)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// The configuration, for libraries that make connections themselves.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Handshakes as a client of `address` (`host:port`), whose certificate must name that host.
    ///
    /// # Errors
    /// When the host isn't a valid name or the handshake fails.
    pub async fn connect(&self, address: &str, stream: BoxedIo) -> io::Result<BoxedIo> {
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
    config: Arc<RwLock<Arc<ServerConfig>>>,
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
        let config = server_config(identity, client_ca, client_required)?;
        Ok(Self {
            config: Arc::new(RwLock::new(Arc::new(config))),
            client_ca: client_ca.map(str::to_owned),
            client_required,
        })
    }

    /// Serves new connections with `identity` from now on.
    ///
    /// # Errors
    /// When a PEM text can't be parsed; the old certificate stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        let config = server_config(identity, self.client_ca.as_deref(), self.client_required)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// Handshakes as a server.
    ///
    /// # Errors
    /// When the handshake fails or the client's certificate isn't trusted.
    pub async fn accept(&self, stream: BoxedIo) -> io::Result<(BoxedIo, Option<PeerIdentity>)> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let stream = TlsAcceptor::from(config).accept(stream).await?;
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server_config(
    identity: &Identity,
    client_ca: Option<&str>,
    client_required: bool,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca_pem) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca_pem)?), provider());
            let verifier = if client_required {
                verifier
            } else {
                verifier.allow_unauthenticated()
            };
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let (chain, key) = parse(identity)?;
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(ca_pem: &str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        store.add(certificate.map_err(|error| TlsError::Pem(format!("certificate authority: {error}")))?)?;
    }
    if store.is_empty() {
        return Err(TlsError::Pem(
            "certificate authority: no certificate in the text".to_owned(),
        ));
    }
    Ok(store)
}

fn parse(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Pem(format!("certificate: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        // The parser's error may quote its input.
        .map_err(|_| TlsError::Pem("private key: not a PEM key".to_owned()))?;
    Ok((chain, key))
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
