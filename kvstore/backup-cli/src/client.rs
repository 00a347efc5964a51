//! A connection to one member, as etcdctl's flags describe it.

use proto::etcdserverpb::AuthenticateRequest;
use proto::etcdserverpb::auth_client::AuthClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use std::path::{Path, PathBuf};
use support::Env;
use support::tls::{ClientTls, Identity, TlsError};
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A message of the stream may be as large as its sender likes.
const MAX_MESSAGE: usize = 64 << 20;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("a snapshot is asked of one member, not of several: {0}")]
    SeveralEndpoints(String),
    #[error("reading {path}: {source}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("an https endpoint needs --cacert")]
    NoAuthority,
    #[error("the certificates are refused: {0}")]
    Tls(#[from] TlsError),
    #[error("--user {0:?} has no password: give `name:password` or --password")]
    NoPassword(String),
    #[error("authenticating: {}", .0.message())]
    Authenticate(Status),
}

/// Where to and as whom.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// `host:port`, with or without `http://` or `https://`.
    pub endpoint: String,
    pub cacert: Option<PathBuf>,
    /// Certificate and key of this client.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `name` or `name:password`.
    pub user: Option<String>,
    pub password: Option<String>,
}

pub type Client = MaintenanceClient<InterceptedService<Channel, Token>>;

impl ConnectOptions {
    /// # Errors
    /// When the flags contradict each other, or the member doesn't know the user.
    pub async fn client(&self, env: &Env) -> Result<Client, ConnectError> {
        let endpoint = self.endpoint.trim();
        if endpoint.contains(',') {
            return Err(ConnectError::SeveralEndpoints(endpoint.to_owned()));
        }
        let (scheme, address) = endpoint.split_once("://").unwrap_or(("", endpoint));
        let tls = match (&self.cacert, scheme) {
            (None, "https") => return Err(ConnectError::NoAuthority),
            (None, _) | (Some(_), "http") => None,
            (Some(cacert), _) => Some(self.tls(cacert)?),
        };
        let channel = support::grpc_channel(env, address.trim_end_matches('/'), tls);
        let token = self.token(channel.clone()).await?;
        Ok(MaintenanceClient::with_interceptor(channel, token).max_decoding_message_size(MAX_MESSAGE))
    }

    fn tls(&self, cacert: &Path) -> Result<ClientTls, ConnectError> {
        let identity = match &self.identity {
            None => None,
            Some((cert, key)) => Some(Identity {
                cert_pem: read(cert)?,
                key_pem: read(key)?,
            }),
        };
        Ok(ClientTls::new(&read(cacert)?, identity.as_ref())?)
    }

    async fn token(&self, channel: Channel) -> Result<Token, ConnectError> {
        let Some(user) = &self.user else {
            return Ok(Token(None));
        };
        let (name, password) = match (user.split_once(':'), &self.password) {
            (_, Some(password)) => (user.as_str(), password.as_str()),
            (Some((name, password)), None) => (name, password),
            (None, None) => return Err(ConnectError::NoPassword(user.clone())),
        };
        let request = AuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let answer = AuthClient::new(channel).authenticate(request).await;
        let token = answer.map_err(ConnectError::Authenticate)?.into_inner().token;
        let value = token
            .parse()
            .map_err(|_| ConnectError::Authenticate(Status::internal("a token that can't be sent")))?;
        Ok(Token(Some(value)))
    }
}

fn read(path: &Path) -> Result<String, ConnectError> {
    std::fs::read_to_string(path).map_err(|source| ConnectError::File {
        path: path.display().to_string(),
        source,
    })
}

/// Sends the user's token along.
#[derive(Clone)]
pub struct Token(Option<MetadataValue<tonic::metadata::Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}
