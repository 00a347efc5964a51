//! Where keys, certificates and authorities are on disk.

use super::revocation::Revoked;
use super::{Identity, TlsError};
use std::path::{Path, PathBuf};

/// Where Linux distributions keep the authorities that everyone trusts.
const SYSTEM_AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl IdentityFiles {
    pub(super) fn read(&self) -> Result<Identity, TlsError> {
        Ok(Identity {
            cert_pem: text(&self.cert)?,
            key_pem: text(&self.key)?,
        })
    }
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those of the authorities in this PEM file.
    File(PathBuf),
    /// Those of the machine's own authorities.
    System,
    /// Everyone's: private, but not authenticated.
    Anyone,
}

impl Trust {
    /// PEM of the authorities; `None` when none is asked.
    pub(super) fn read(&self) -> Result<Option<String>, TlsError> {
        match self {
            Self::File(path) => text(path).map(Some),
            Self::System => {
                let found = SYSTEM_AUTHORITIES
                    .iter()
                    .find_map(|path| std::fs::read_to_string(path).ok());
                found.map(Some).ok_or_else(|| {
                    TlsError::Pem("certificate authority: the system has no list of authorities".to_owned())
                })
            }
            Self::Anyone => Ok(None),
        }
    }
}

/// The files of one end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub identity: IdentityFiles,
    /// Authorities of the other side; a server that has them requires a certificate of every client.
    pub trust: Option<Trust>,
    /// Certificates of the other side that don't count any more, DER or PEM.
    pub revoked: Option<PathBuf>,
}

impl TlsFiles {
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.identity.cert.clone(), self.identity.key.clone()];
        if let Some(Trust::File(path)) = &self.trust {
            paths.push(path.clone());
        }
        paths.extend(self.revoked.clone());
        paths
    }

    pub(super) fn read_revoked(&self) -> Result<Revoked, TlsError> {
        match &self.revoked {
            Some(path) => Revoked::parse(&std::fs::read(path).map_err(|source| unreadable(path, source))?),
            None => Ok(Revoked::default()),
        }
    }

    pub(super) fn read_authorities(&self) -> Result<Option<String>, TlsError> {
        match &self.trust {
            Some(trust) => trust.read(),
            None => Ok(None),
        }
    }
}

fn text(path: &Path) -> Result<String, TlsError> {
    std::fs::read_to_string(path).map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: std::io::Error) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        source,
    }
}
