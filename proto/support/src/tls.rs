//! TLS identity: a certificate authority, the certificates it issues, and both ends of a connection.
//!
//! - Keys are ECDSA P-256. Private keys never reach a log: their holders print themselves without them.
//! - An end that was made from files looks at them before every handshake and follows their changes; a
//!   broken file changes nothing but the log.

mod authorities;
mod authority;
mod check;
mod connection;
mod failure;
mod files;
mod pem_text;
mod policy;
mod reload;
mod revocation;
#[cfg(test)]
mod tests;

pub use authority::{CertificateAuthority, CertificateRequest, Identity, Usage, self_signed};
pub use connection::{ClientTls, PeerIdentity, ServerTls, peer_identity};
pub use failure::handshake_failure;
pub use files::{IdentityFiles, TlsFiles, Trust};
pub use policy::{Allowed, TlsPolicy, TlsVersion, is_cipher_suite};

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
    #[error("open {path}")]
    File { path: String, source: std::io::Error },
    #[error("TLS cipher suite {0:?} is not supported")]
    CipherSuite(String),
}
