//! What is asked of the other side's certificate beyond a trusted signature: allowed names, not revoked.

use super::authorities::{Authorities, Purpose};
use super::peer_identity;
use super::policy::Allowed;
use super::revocation::Revoked;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// Conditions on a certificate whose signature is trusted already.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    pub allowed: Allowed,
    pub revoked: Revoked,
}

impl Conditions {
    fn check(&self, end: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        if std::iter::once(end)
            .chain(others)
            .any(|der| self.revoked.contains(der))
        {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        let allowed = match &self.allowed {
            Allowed::Anyone => true,
            Allowed::CommonNames(names) => {
                peer_identity(end).is_some_and(|identity| names.contains(&identity.common_name))
            }
            Allowed::Hostnames(names) => {
                let certificate = ParsedCertificate::try_from(end)?;
                names.iter().any(|name| {
                    ServerName::try_from(name.as_str())
                        .is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
                })
            }
        };
        match allowed {
            true => Ok(()),
            // The other side is told of a bad certificate, as by Go's TLS.
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }
}

/// A server's check of its clients.
#[derive(Debug)]
pub struct ClientCheck {
    pub inner: Arc<dyn ClientCertVerifier>,
    /// Those of `inner`.
    pub authorities: Authorities,
    pub conditions: Conditions,
}

impl ClientCertVerifier for ClientCheck {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now);
        if let Err(refused) = verified
            && !self.authorities.include(end_entity, Purpose::Client, now)
        {
            return Err(refused);
        }
        self.conditions.check(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A client's check of its server. Without `inner`, and the authorities that it trusts, any certificate will
/// do: the connection is private but not authenticated, as between etcd members with `--peer-auto-tls`.
#[derive(Debug)]
pub struct ServerCheck {
    pub inner: Option<(Arc<dyn ServerCertVerifier>, Authorities)>,
    pub conditions: Conditions,
    pub provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some((inner, authorities)) = &self.inner
            && let Err(refused) =
                inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            && !authorities.include(end_entity, Purpose::Server(server_name), now)
        {
            return Err(refused);
        }
        self.conditions.check(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
