//! Opening connections and knowing whether they still live.

use crate::credentials::ActiveCredentials;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use support::tls::ClientTls;
use support::{BoxedIo, Env};

/// How long a connection may take, TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that leaves a ping unanswered for this long is gone. Without it a lost segment, or a host that died
/// without a FIN, would wedge the connection for ever.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Lists are megabytes; windows as large as that keep them from waiting on round trips.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A live HTTP/2 connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connection {
    server: Arc<str>,
    tls: bool,
    generation: u64,
    sender: http2::SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    pub(super) fn is_usable(&self, generation: u64) -> bool {
        self.generation == generation && !self.sender.is_closed()
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.server, &other.server)
    }

    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        self.sender.clone().try_send_request(request).await
    }
}

pub(super) async fn connect_http2(
    env: &Env,
    server: &str,
    credentials: &ActiveCredentials,
) -> io::Result<Connection> {
    let stream = open(env, server, credentials.http2_tls.as_ref()).await?;
    let (sender, driver) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let server: Arc<str> = Arc::from(server);
    let name = Arc::clone(&server);
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(server = %name, %error, "API connection ended");
        }
    });
    Ok(Connection {
        server,
        tls: credentials.http2_tls.is_some(),
        generation: credentials.generation,
        sender,
    })
}

pub(super) async fn connect_http1(
    env: &Env,
    server: &str,
    credentials: &ActiveCredentials,
) -> io::Result<http1::SendRequest<Full<Bytes>>> {
    let stream = open(env, server, credentials.http1_tls.as_ref()).await?;
    let (sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(driver.with_upgrades());
    Ok(sender)
}

async fn open(env: &Env, server: &str, tls: Option<&ClientTls>) -> io::Result<BoxedIo> {
    let connect = async {
        let stream = env.net.connect(server).await?;
        match tls {
            Some(tls) => tls.connect(server, stream).await,
            None => Ok(stream),
        }
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
        Ok(stream) => stream,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("connecting to {server}"),
        )),
    }
}
