//! HTTP to the API servers: one multiplexed HTTP/2 connection a lane, HTTP/1.1 for upgrades.
//!
//! Invariants:
//! - A request goes out again only when it can't have been seen, or when it only reads.
//! - A connection that fails, answers no ping, or keeps a caller waiting until it gives up takes no further
//!   request; the next one goes to the next server.
//! - Watches have a lane of their own, so that a burst of events holds up no other answer.

mod connection;

use crate::client::ClientConfig;
use crate::credentials::{ClientError, CredentialsHandle};
use bytes::Bytes;
use connection::{Connection, connect_http1, connect_http2};
use http::header::{AUTHORIZATION, HOST, HeaderValue, UPGRADE, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use kube::client::Body;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::Env;
use tokio::time::Instant;
use tower::BoxError;

/// The longest wait for the head of an answer. The API server ends its own work after a minute.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(65);
/// A caller that gave up after this long makes its connection suspect.
const SUSPICION: Duration = Duration::from_millis(400);

/// What can go wrong below HTTP.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("no API server answers; tried {tried}")]
    Unreachable {
        tried: String,
        #[source]
        last: std::io::Error,
    },
    #[error("no answer from {server} within {RESPONSE_TIMEOUT:?}")]
    Timeout { server: String },
}

#[derive(Clone)]
pub(crate) struct Transport(Arc<Inner>);

struct Inner {
    env: Env,
    servers: Vec<String>,
    user_agent: HeaderValue,
    credentials: CredentialsHandle,
    calls: Lane,
    watches: Lane,
    upgrades: AtomicUsize,
}

/// One connection at a time, and the server that the next one goes to.
struct Lane {
    /// Held while connecting, so that concurrent requests share the new connection.
    connecting: tokio::sync::Mutex<()>,
    current: Mutex<Option<Connection>>,
    server: AtomicUsize,
}

impl Lane {
    fn new(server: usize) -> Self {
        Self {
            connecting: tokio::sync::Mutex::new(()),
            current: Mutex::new(None),
            server: AtomicUsize::new(server),
        }
    }

    fn usable(&self, generation: u64) -> Option<Connection> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(connection) if connection.is_usable(generation) => Some(connection.clone()),
            _ => {
                *current = None;
                None
            }
        }
    }

    /// Gives `connection` no further request and moves on to the next server.
    fn discard(&self, connection: &Connection) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|c| c.is_same(connection)) {
            *current = None;
            self.server.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Discards the connection when the caller drops its request after waiting for a while.
struct Patience<'a> {
    lane: &'a Lane,
    connection: &'a Connection,
    since: Instant,
    answered: bool,
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        if !self.answered && self.since.elapsed() >= SUSPICION {
            self.lane.discard(self.connection);
        }
    }
}

impl Transport {
    pub(crate) fn new(env: &Env, config: &ClientConfig) -> Result<Self, ClientError> {
        if config.servers.is_empty() {
            return Err(ClientError::NoServers);
        }
        // Clients spread over the servers by starting at a random one.
        let count = u64::try_from(config.servers.len()).unwrap_or(1);
        let first = usize::try_from(env.random.below(0..count)).unwrap_or(0);
        Ok(Self(Arc::new(Inner {
            env: env.clone(),
            servers: config.servers.clone(),
            user_agent: HeaderValue::try_from(&config.user_agent)
                .unwrap_or(HeaderValue::from_static("trireme")),
            credentials: CredentialsHandle::new(config.ca_pem.as_deref(), &config.credentials)?,
            calls: Lane::new(first),
            watches: Lane::new(first),
            upgrades: AtomicUsize::new(first),
        })))
    }

    pub(crate) fn credentials(&self) -> CredentialsHandle {
        self.0.credentials.clone()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let (mut parts, body) = request.into_parts();
        // Bodies of the client library are whole already; a second attempt needs them whole.
        let body = body.collect().await?.to_bytes();
        parts.headers.insert(USER_AGENT, self.0.user_agent.clone());
        if let Some(authorization) = &self.0.credentials.active().authorization {
            parts.headers.insert(AUTHORIZATION, authorization.clone());
        }
        if parts.headers.contains_key(UPGRADE) {
            return self.upgrade(parts, body).await;
        }
        let watches = parts.uri.query().is_some_and(|query| {
            query
                .split('&')
                .any(|pair| matches!(pair, "watch=true" | "watch=1" | "follow=true"))
        });
        let lane = if watches { &self.0.watches } else { &self.0.calls };
        let mut repeats = self.0.servers.len();
        loop {
            let connection = self.connection(lane).await?;
            let result = self.exchange(lane, &connection, &parts, &body).await;
            let error = match result {
                Ok(response) => {
                    // This server can't do its work just now; another one may.
                    let unable = matches!(
                        response.status(),
                        StatusCode::BAD_GATEWAY
                            | StatusCode::SERVICE_UNAVAILABLE
                            | StatusCode::GATEWAY_TIMEOUT
                    );
                    if unable && self.0.servers.len() > 1 {
                        lane.discard(&connection);
                    }
                    return Ok(response);
                }
                Err(error) => error,
            };
            lane.discard(&connection);
            let reads = parts.method == Method::GET || parts.method == Method::HEAD;
            if repeats == 0 || !(error.unseen || reads) {
                return Err(error.source);
            }
            repeats -= 1;
        }
    }

    async fn exchange(
        &self,
        lane: &Lane,
        connection: &Connection,
        parts: &http::request::Parts,
        body: &Bytes,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let mut parts = parts.clone();
        parts.uri = absolute(&parts.uri, connection.server(), connection.is_tls());
        let request = Request::from_parts(parts, Full::new(body.clone()));
        let mut patience = Patience {
            lane,
            connection,
            since: Instant::now(),
            answered: false,
        };
        let answer = tokio::time::timeout(RESPONSE_TIMEOUT, connection.send(request)).await;
        patience.answered = true;
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut error)) => Err(ExchangeError {
                unseen: error.take_message().is_some(),
                source: Box::new(error.into_error()),
            }),
            Err(_) => Err(ExchangeError {
                unseen: false,
                source: Box::new(TransportError::Timeout {
                    server: connection.server().to_owned(),
                }),
            }),
        }
    }

    async fn connection(&self, lane: &Lane) -> Result<Connection, TransportError> {
        let credentials = self.0.credentials.active();
        if let Some(connection) = lane.usable(credentials.generation) {
            return Ok(connection);
        }
        let _connecting = lane.connecting.lock().await;
        if let Some(connection) = lane.usable(credentials.generation) {
            return Ok(connection);
        }
        let mut last = std::io::Error::other("no server");
        for _ in 0..self.0.servers.len() {
            let index = lane.server.load(Ordering::Relaxed) % self.0.servers.len();
            match connect_http2(&self.0.env, &self.0.servers[index], &credentials).await {
                Ok(connection) => {
                    *lane.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => {
                    tracing::debug!(server = self.0.servers[index], %error, "API server unreachable");
                    lane.server.fetch_add(1, Ordering::Relaxed);
                    last = error;
                }
            }
        }
        Err(TransportError::Unreachable {
            tried: self.0.servers.join(", "),
            last,
        })
    }

    /// One connection a request, handed over to the caller by the upgrade.
    async fn upgrade(
        &self,
        mut parts: http::request::Parts,
        body: Bytes,
    ) -> Result<Response<Incoming>, BoxError> {
        let credentials = self.0.credentials.active();
        let mut last = std::io::Error::other("no server");
        for _ in 0..self.0.servers.len() {
            let index = self.0.upgrades.load(Ordering::Relaxed) % self.0.servers.len();
            let server = &self.0.servers[index];
            match connect_http1(&self.0.env, server, &credentials).await {
                Ok(mut sender) => {
                    parts.headers.insert(HOST, HeaderValue::try_from(server)?);
                    let request = Request::from_parts(parts, Full::new(body));
                    return Ok(sender.send_request(request).await?);
                }
                Err(error) => {
                    self.0.upgrades.fetch_add(1, Ordering::Relaxed);
                    last = error;
                }
            }
        }
        Err(Box::new(TransportError::Unreachable {
            tried: self.0.servers.join(", "),
            last,
        }))
    }
}

struct ExchangeError {
    /// The request was given back: no byte of it left.
    unseen: bool,
    source: BoxError,
}

fn absolute(uri: &Uri, server: &str, tls: bool) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = server.parse::<Authority>().ok();
    // Only a server name that is no authority fails here, and the connection then already did.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}
