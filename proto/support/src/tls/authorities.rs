//! Whom one side trusts, and the certificates that are trusted because they are among them.
//!
//! What `openssl req -x509` makes says that it is an authority's, and is used as that and as the certificate of both
//! ends. Go trusts a certificate that is one of the authorities whatever else it says (`crypto/x509/verify.go`,
//! `Verify`); webpki refuses every certificate of an authority at the end of a chain.

use super::TlsError;
use super::pem_text::certificates;
use rustls::RootCertStore;
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use x509_parser::prelude::{ExtendedKeyUsage, FromDer as _, X509Certificate};

/// What the other side's certificate is shown for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A client's.
    Client,
    /// A server's of this name.
    Server(&'a ServerName<'a>),
}

/// Authorities to trust.
#[derive(Debug, Clone)]
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    pub roots: Arc<RootCertStore>,
}

impl Authorities {
    /// Every certificate of a text.
    ///
    /// # Errors
    /// When one isn't a certificate, or there is none.
    pub fn from_pem(pem: &str) -> Result<Self, TlsError> {
        let certificates =
            certificates(pem).map_err(|error| TlsError::Pem(format!("certificate authority: {error}")))?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        if roots.is_empty() {
            return Err(TlsError::Pem(
                "certificate authority: no certificate in the text".to_owned(),
            ));
        }
        Ok(Self {
            certificates,
            roots: Arc::new(roots),
        })
    }

    /// Whether `certificate` is one of these, valid at `now`, and good for `purpose`.
    pub fn include(&self, certificate: &CertificateDer<'_>, purpose: Purpose<'_>, now: UnixTime) -> bool {
        self.certificates.contains(certificate) && is_good(certificate, purpose, now).unwrap_or(false)
    }
}

/// `None` when it can't be read, or has an extension that must be understood and isn't.
fn is_good(der: &CertificateDer<'_>, purpose: Purpose<'_>, now: UnixTime) -> Option<bool> {
    let parsed = ParsedCertificate::try_from(der).ok()?;
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let now = i64::try_from(now.as_secs()).ok()?;
    let usages = certificate.extended_key_usage().ok()?;
    let usable = |usage: fn(&ExtendedKeyUsage<'_>) -> bool| {
        usages
            .as_ref()
            .is_none_or(|usages| usages.value.any || usage(usages.value))
    };
    let fits = match purpose {
        Purpose::Client => usable(|usages| usages.client_auth),
        Purpose::Server(name) => {
            usable(|usages| usages.server_auth) && verify_server_name(&parsed, name).is_ok()
        }
    };
    Some(fits && validity.not_before.timestamp() <= now && now <= validity.not_after.timestamp())
}
