//! Certificates and keys out of PEM texts.

use super::{Identity, TlsError};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Every certificate of a text, as authorities to trust.
pub fn roots(ca_pem: &str) -> Result<RootCertStore, TlsError> {
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

/// A chain and its key.
pub fn parse(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Pem(format!("certificate: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        // The parser's error may quote its input.
        .map_err(|_| TlsError::Pem("private key: not a PEM key".to_owned()))?;
    Ok((chain, key))
}
