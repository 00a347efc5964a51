//! Certificates and keys out of PEM texts.

use super::{Identity, TlsError};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Every certificate of a text.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect()
}

/// A chain and its key.
pub fn parse(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain =
        certificates(&identity.cert_pem).map_err(|error| TlsError::Pem(format!("certificate: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        // The parser's error may quote its input.
        .map_err(|_| TlsError::Pem("private key: not a PEM key".to_owned()))?;
    Ok((chain, key))
}
