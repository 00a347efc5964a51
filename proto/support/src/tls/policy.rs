//! What a handshake must be like: versions, cipher suites, names of the other side.

use super::TlsError;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};
use std::sync::Arc;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// Which names the other side's certificate must have, beside being trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Allowed {
    #[default]
    Anyone,
    /// Its common name is one of these.
    CommonNames(Vec<String>),
    /// One of its DNS names or addresses is, or matches, one of these.
    Hostnames(Vec<String>),
}

/// Conditions of a handshake.
#[derive(Debug, Clone, Default)]
pub struct TlsPolicy {
    /// The least version; 1.2 when not given.
    pub min: Option<TlsVersion>,
    /// The highest version; the newest when not given.
    pub max: Option<TlsVersion>,
    /// IANA names, most wanted first, of the cipher suites of TLS 1.2; all sound ones when empty. Those of
    /// TLS 1.3 can't be chosen.
    pub cipher_suites: Vec<String>,
    pub allowed: Allowed,
}

impl TlsPolicy {
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let (min, max) = (
            self.min.unwrap_or(TlsVersion::V1_2),
            self.max.unwrap_or(TlsVersion::V1_3),
        );
        [
            (TlsVersion::V1_3, &version::TLS13),
            (TlsVersion::V1_2, &version::TLS12),
        ]
        .into_iter()
        .filter(|(version, _)| (min..=max).contains(version))
        .map(|(_, version)| version)
        .collect()
    }

    pub(super) fn provider(&self) -> Result<Arc<CryptoProvider>, TlsError> {
        let mut provider = ring::default_provider();
        if !self.cipher_suites.is_empty() {
            let known = std::mem::take(&mut provider.cipher_suites);
            provider
                .cipher_suites
                .extend(known.iter().filter(|suite| is_tls13(suite)));
            for name in &self.cipher_suites {
                let suite = known
                    .iter()
                    .find(|suite| suite_name(suite) == *name)
                    .ok_or_else(|| TlsError::CipherSuite(name.clone()))?;
                if !is_tls13(suite) {
                    provider.cipher_suites.push(*suite);
                }
            }
        }
        Ok(Arc::new(provider))
    }
}

/// Whether a cipher suite can be asked for by this IANA name.
pub fn is_cipher_suite(name: &str) -> bool {
    ring::default_provider()
        .cipher_suites
        .iter()
        .any(|suite| suite_name(suite) == name)
}

fn is_tls13(suite: &SupportedCipherSuite) -> bool {
    suite.tls13().is_some()
}

/// The IANA name; rustls tells those of 1.3 from the others by a prefix of its own.
fn suite_name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replacen("TLS13_", "TLS_", 1)
}

#[cfg(test)]
mod tests {
    use super::{TlsPolicy, TlsVersion, is_cipher_suite};

    #[test]
    fn versions_are_bounded_on_both_sides() {
        let count = |min, max| {
            TlsPolicy {
                min,
                max,
                ..TlsPolicy::default()
            }
            .versions()
            .len()
        };
        assert_eq!(count(None, None), 2);
        assert_eq!(count(Some(TlsVersion::V1_3), None), 1);
        assert_eq!(count(None, Some(TlsVersion::V1_2)), 1);
    }

    #[test]
    fn suites_of_1_2_are_chosen_and_those_of_1_3_stay() {
        let policy = |names: &[&str]| TlsPolicy {
            cipher_suites: names.iter().map(|name| (*name).to_owned()).collect(),
            ..TlsPolicy::default()
        };
        let chosen = policy(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"])
            .provider()
            .expect("a suite");
        assert_eq!(chosen.cipher_suites.len(), 4);
        assert!(policy(&["TLS_RSA_WITH_RC4_128_SHA"]).provider().is_err());
        assert!(is_cipher_suite("TLS_AES_128_GCM_SHA256"));
        assert!(!is_cipher_suite("TLS_RSA_WITH_AES_128_CBC_SHA"));
    }
}
