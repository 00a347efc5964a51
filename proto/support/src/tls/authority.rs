//! A certificate authority and what it issues.

use super::TlsError;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::time::Duration;

/// Clocks of members may differ by this much before a fresh certificate looks "not yet valid".
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);
const AUTHORITY_VALIDITY: SignedDuration = SignedDuration::from_hours(24 * 365 * 10);

/// A certificate chain with its private key, both PEM.
#[derive(Clone)]
pub struct Identity {
    pub cert_pem: String,
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity { .. }")
    }
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Client,
    Server,
    /// Both ends, as between members of the store.
    Peer,
}

/// The subject and purpose of a certificate to issue.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    pub common_name: String,
    pub organizations: Vec<String>,
    /// DNS names and IP addresses in text form.
    pub subject_alt_names: Vec<String>,
    pub usage: Usage,
    pub validity: Duration,
}

/// A self-signed root that issues certificates.
pub struct CertificateAuthority {
    cert_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl CertificateAuthority {
    /// A new root, valid for ten years from `now`.
    ///
    /// # Errors
    /// When a key can't be generated.
    pub fn generate(common_name: &str, now: Timestamp) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        set_validity(&mut params, now, AUTHORITY_VALIDITY)?;
        let cert_pem = params.self_signed(&key)?.pem();
        Self::from_pem(&cert_pem, &key.serialize_pem())
    }

    /// # Errors
    /// When either text isn't the PEM it should be.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, TlsError> {
        let issuer = Issuer::from_ca_cert_pem(cert_pem, KeyPair::from_pem(key_pem)?)?;
        Ok(Self {
            cert_pem: cert_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            issuer,
        })
    }

    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The root's private key, to be written with mode 0600 and nowhere else.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A new key with a certificate for it.
    ///
    /// # Errors
    /// When a name is neither a DNS name nor an address, or signing fails.
    pub fn issue(&self, request: &CertificateRequest, now: Timestamp) -> Result<Identity, TlsError> {
        let key = KeyPair::generate()?;
        let params = end_params(request, now)?;
        let cert_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity {
            cert_pem,
            key_pem: key.serialize_pem(),
        })
    }

    /// Signs a PKCS#10 request with its own subject and names; usage and validity are the signer's choice.
    ///
    /// # Errors
    /// When the request can't be parsed or its own signature is wrong.
    pub fn sign_request(
        &self,
        request_pem: &str,
        usage: Usage,
        validity: Duration,
        now: Timestamp,
    ) -> Result<String, TlsError> {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)?;
        request.params.is_ca = IsCa::NoCa;
        request.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        request.params.extended_key_usages = extended(usage);
        set_validity(&mut request.params, now, signed(validity))?;
        Ok(request.signed_by(&self.issuer)?.pem())
    }
}

/// A certificate that vouches for itself, for a server named by DNS names and addresses.
///
/// # Errors
/// When a name is neither, or signing fails.
pub fn self_signed(request: &CertificateRequest, now: Timestamp) -> Result<Identity, TlsError> {
    let key = KeyPair::generate()?;
    let params = end_params(request, now)?;
    Ok(Identity {
        cert_pem: params.self_signed(&key)?.pem(),
        key_pem: key.serialize_pem(),
    })
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateAuthority { .. }")
    }
}

fn end_params(request: &CertificateRequest, now: Timestamp) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(request.subject_alt_names.clone())?;
    params.distinguished_name = subject(&request.common_name, &request.organizations);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = extended(request.usage);
    set_validity(&mut params, now, signed(request.validity))?;
    Ok(params)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn subject(common_name: &str, organizations: &[String]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // rcgen keeps one value a type, so several organizations would need a custom attribute each;
    // Kubernetes identities that we issue have at most one.
    if let Some(first) = organizations.first() {
        name.push(DnType::OrganizationName, first.clone());
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn extended(usage: Usage) -> Vec<ExtendedKeyUsagePurpose> {
    match usage {
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Peer => vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
    }
}

fn set_validity(
    params: &mut CertificateParams,
    now: Timestamp,
    validity: SignedDuration,
) -> Result<(), TlsError> {
    params.not_before = date(now.checked_sub(CLOCK_SKEW)?)?;
    params.not_after = date(now.checked_add(validity)?)?;
    Ok(())
}

fn date(at: Timestamp) -> Result<time::OffsetDateTime, TlsError> {
    time::OffsetDateTime::from_unix_timestamp(at.as_second())
        .map_err(|error| TlsError::Pem(format!("certificate date: {error}")))
}
