//! gRPC over the network seam: client channels and server connections, with or without TLS.

use crate::net::first_byte;
use crate::tls::{ClientTls, PeerIdentity, ServerTls};
use crate::{BoxedIo, Env, Listener};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long a connection may take, TLS handshake included, before it counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that answers no ping for this long is gone: without it, a lost segment or a dead host
/// without FIN would wedge an HTTP/2 connection for ever.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections whose handshake is under way and not yet taken by the server; further ones wait in the
/// kernel's backlog.
const HANDSHAKE_BACKLOG: usize = 64;

/// A lazy channel to `address` (`host:port`); it connects at the first request and again after a failure.
pub fn grpc_channel(env: &Env, address: &str, tls: Option<ClientTls>) -> Channel {
    let env = env.clone();
    let target = address.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let (env, target, tls) = (env.clone(), target.clone(), tls.clone());
        async move {
            let connect = async {
                let stream = env.net.connect(&target).await?;
                match tls {
                    Some(tls) => tls.connect(&target, stream).await,
                    None => Ok(stream),
                }
            };
            match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
                Ok(stream) => stream.map(TokioIo::new),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("connecting to {target}"),
                )),
            }
        }
    });
    // The scheme is always http here: TLS, when there is any, is made by the connector above.
    let uri = format!("http://{address}")
        .parse::<Uri>()
        .unwrap_or_else(|_| Uri::from_static("http://invalid"));
    Endpoint::from(uri)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .connect_with_connector_lazy(connector)
}

/// Who is at the other end of a server connection.
#[derive(Debug, Clone)]
pub struct ConnectInfo {
    pub remote: SocketAddr,
    /// The verified client certificate's subject, when the client showed one.
    pub identity: Option<Arc<PeerIdentity>>,
}

/// An accepted connection, ready for `tonic::transport::Server::serve_with_incoming` or hyper.
pub struct Incoming {
    io: BoxedIo,
    info: ConnectInfo,
}

impl Incoming {
    pub fn info(&self) -> &ConnectInfo {
        &self.info
    }
}

impl Connected for Incoming {
    type ConnectInfo = ConnectInfo;
    fn connect_info(&self) -> ConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Whether the connections of a listener begin with a TLS handshake.
#[derive(Clone)]
pub enum Security {
    Plain,
    Tls(ServerTls),
    /// As each connection's first byte says.
    Either(ServerTls),
}

impl From<Option<ServerTls>> for Security {
    fn from(tls: Option<ServerTls>) -> Self {
        tls.map_or(Self::Plain, Self::Tls)
    }
}

impl Security {
    /// The first byte of a TLS handshake; no HTTP method begins with it.
    const HANDSHAKE: u8 = 22;

    async fn secure(&self, stream: BoxedIo) -> io::Result<(BoxedIo, Option<PeerIdentity>)> {
        match self {
            Self::Plain => Ok((stream, None)),
            Self::Tls(tls) => tls.accept(stream).await,
            Self::Either(tls) => match first_byte(stream).await? {
                (Some(Self::HANDSHAKE), stream) => tls.accept(stream).await,
                (_, stream) => Ok((stream, None)),
            },
        }
    }
}

/// Accepts connections for ever, each handshake in a task of its own so that a slow client holds up
/// nobody. The receiver ends when the listener fails for good; dropping it stops the accepting.
pub fn incoming(
    listener: Box<dyn Listener>,
    security: impl Into<Security>,
) -> mpsc::Receiver<io::Result<Incoming>> {
    incoming_with(
        listener,
        security,
        |remote, error| tracing::debug!(%remote, %error, "handshake failed"),
    )
}

/// As [`incoming`]; `rejected` hears of handshakes that failed.
pub fn incoming_with(
    listener: Box<dyn Listener>,
    security: impl Into<Security>,
    rejected: impl Fn(SocketAddr, &io::Error) + Clone + Send + 'static,
) -> mpsc::Receiver<io::Result<Incoming>> {
    let security = security.into();
    let (sender, receiver) = mpsc::channel(HANDSHAKE_BACKLOG);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                biased;
                () = sender.closed() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors and the like: the next accept may work again.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (sender, security, rejected) = (sender.clone(), security.clone(), rejected.clone());
            tokio::spawn(async move {
                let accepted = match security {
                    Security::Plain => Ok((stream, None)),
                    _ => match tokio::time::timeout(CONNECT_TIMEOUT * 5, security.secure(stream)).await {
                        Ok(done) => done,
                        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "TLS handshake")),
                    },
                };
                match accepted {
                    Ok((io, identity)) => {
                        let info = ConnectInfo {
                            remote,
                            identity: identity.map(Arc::new),
                        };
                        // The server is gone when this fails; so is the connection.
                        let _ = sender.send(Ok(Incoming { io, info })).await;
                    }
                    Err(error) => rejected(remote, &error),
                }
            });
        }
    });
    receiver
}
