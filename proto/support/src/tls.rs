//! TLS identity: a certificate authority, the certificates it issues, and both ends of a connection.
//!
//! Keys are ECDSA P-256. Private keys never reach a log: their holders print themselves without them.

mod authority;
mod connection;

pub use authority::{CertificateAuthority, CertificateRequest, Identity, Usage};
pub use connection::{ClientTls, PeerIdentity, ServerTls, peer_identity};

/// What can go wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("certificate generation failed")]
    Generate(#[from] rcgen::Error),
    #[error("TLS configuration refused")]
    Config(#[from] rustls::Error),
    #[error("client verifier refused")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("{0}")]
    Pem(String),
    #[error("certificate time out of range")]
    Time(#[from] jiff::Error),
}
