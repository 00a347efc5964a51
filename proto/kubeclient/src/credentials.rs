//! Who a client is to the API servers, replaceable while it runs.

use http::HeaderValue;
use std::sync::{Arc, PoisonError, RwLock};
use support::tls::{ClientTls, Identity, TlsError};

/// What a client shows to prove who it is.
#[derive(Clone)]
pub enum Credentials {
    Certificate(Identity),
    /// A bearer token: a service account's, or one to bootstrap with.
    Token(String),
    Anonymous,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certificate(_) => "Certificate",
            Self::Token(_) => "Token",
            Self::Anonymous => "Anonymous",
        })
    }
}

/// Why a client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no API server is named")]
    NoServers,
    #[error("TLS of the API client")]
    Tls(#[from] TlsError),
    #[error("the bearer token isn't a valid header value")]
    Token,
}

/// Replaces the credentials of a running client.
#[derive(Clone)]
pub struct CredentialsHandle {
    ca_pem: Option<Arc<str>>,
    active: Arc<RwLock<Arc<ActiveCredentials>>>,
}

/// Credentials in the form that connections and requests use.
pub(crate) struct ActiveCredentials {
    /// Rises with every replacement: connections of an older generation take no new requests.
    pub(crate) generation: u64,
    pub(crate) http2_tls: Option<ClientTls>,
    pub(crate) http1_tls: Option<ClientTls>,
    pub(crate) authorization: Option<HeaderValue>,
}

impl CredentialsHandle {
    pub(crate) fn new(ca_pem: Option<&str>, credentials: &Credentials) -> Result<Self, ClientError> {
        Ok(Self {
            ca_pem: ca_pem.map(Arc::from),
            active: Arc::new(RwLock::new(Arc::new(activate(ca_pem, credentials, 0)?))),
        })
    }

    /// Uses `credentials` for every request from now on; requests under way keep the old ones.
    ///
    /// # Errors
    /// When they can't be parsed; the old ones stay.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), ClientError> {
        let mut active = self.active.write().unwrap_or_else(PoisonError::into_inner);
        let next = active.generation + 1;
        *active = Arc::new(activate(self.ca_pem.as_deref(), credentials, next)?);
        Ok(())
    }

    pub(crate) fn active(&self) -> Arc<ActiveCredentials> {
        Arc::clone(&self.active.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for CredentialsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialsHandle")
    }
}

fn activate(
    ca_pem: Option<&str>,
    credentials: &Credentials,
    generation: u64,
) -> Result<ActiveCredentials, ClientError> {
    let identity = match credentials {
        Credentials::Certificate(identity) => Some(identity),
        Credentials::Token(_) | Credentials::Anonymous => None,
    };
    let tls = |alpn: &[u8]| {
        ca_pem
            .map(|ca_pem| ClientTls::with_alpn(ca_pem, identity, &[alpn]))
            .transpose()
    };
    let authorization = match credentials {
        Credentials::Token(token) => {
            let mut value =
                HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
            value.set_sensitive(true);
            Some(value)
        }
        Credentials::Certificate(_) | Credentials::Anonymous => None,
    };
    Ok(ActiveCredentials {
        generation,
        http2_tls: tls(b"h2")?,
        http1_tls: tls(b"http/1.1")?,
        authorization,
    })
}
