//! Certificates that their authority has taken back.

use super::TlsError;
use std::collections::BTreeSet;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

/// Serial numbers, as in etcd `transport.checkCRL`: the list's signature is not looked at, its file is
/// trusted as the authority's is.
#[derive(Debug, Clone, Default)]
pub struct Revoked {
    serials: BTreeSet<Vec<u8>>,
}

impl Revoked {
    /// Reads a list, DER or PEM.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlsError> {
        let broken = |reason: &dyn std::fmt::Display| TlsError::Pem(format!("revocation list: {reason}"));
        let decoded = if bytes.starts_with(b"-----BEGIN") {
            Some(pem::parse(bytes).map_err(|error| broken(&error))?)
        } else {
            None
        };
        let der = decoded.as_ref().map_or(bytes, |pem| pem.contents());
        let (_, list) = CertificateRevocationList::from_der(der).map_err(|error| broken(&error))?;
        let serials = list
            .iter_revoked_certificates()
            .map(|revoked| significant(revoked.raw_serial()))
            .collect();
        Ok(Self { serials })
    }

    /// Whether a DER certificate has been taken back; one that can't be read counts as such.
    pub fn contains(&self, der: &[u8]) -> bool {
        if self.serials.is_empty() {
            return false;
        }
        match X509Certificate::from_der(der) {
            Ok((_, certificate)) => self.serials.contains(&significant(certificate.raw_serial())),
            Err(_) => true,
        }
    }
}

/// DER puts a zero byte before numbers whose first bit is set.
fn significant(serial: &[u8]) -> Vec<u8> {
    let start = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    serial[start..].to_vec()
}
