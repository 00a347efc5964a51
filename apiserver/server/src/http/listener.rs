//! Accepts connections, speaks HTTP/1.1 or HTTP/2 on each, and ends them gracefully.

use super::Response;
use http::Request;
use hyper::body::Incoming as IncomingBody;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::Listener;
use support::tls::{PeerIdentity, ServerTls};
use tokio_util::sync::CancellationToken;

/// Streams of one HTTP/2 connection; upstream's default.
const MAX_STREAMS: u32 = 250;
/// A peer silent for the interval is pinged, and dropped when it doesn't answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long running requests may take after the stop signal. Watches end at the signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Who is at the other end of the connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub remote: SocketAddr,
    pub identity: Option<Arc<PeerIdentity>>,
}

/// Answers requests. Never fails: errors are responses.
pub(crate) trait Handler: Send + Sync + 'static {
    fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<IncomingBody>,
    ) -> impl Future<Output = Response> + Send;
}

/// Serves `listener` until `cancel`, then lets running requests finish.
pub(crate) async fn serve<H: Handler>(
    listener: Box<dyn Listener>,
    tls: Option<ServerTls>,
    handler: Arc<H>,
    cancel: CancellationToken,
) {
    let mut incoming = support::incoming(listener, tls);
    let graceful = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The handler dates its answers by the clock it was given.
        .auto_date_header(false)
        .header_read_timeout(Duration::from_secs(60))
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(1 << 20)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            accepted = incoming.recv() => accepted,
        };
        let connection = match accepted {
            Some(Ok(connection)) => connection,
            Some(Err(error)) => {
                tracing::warn!(%error, "accepting connections");
                continue;
            }
            None => break,
        };
        let peer = Peer {
            remote: connection.info().remote,
            identity: connection.info().identity.clone(),
        };
        let handler = Arc::clone(&handler);
        let service = service_fn(move |request| {
            let (handler, peer) = (Arc::clone(&handler), peer.clone());
            async move { Ok::<_, Infallible>(handler.handle(peer, request).await) }
        });
        let connection = builder
            .serve_connection_with_upgrades(TokioIo::new(connection), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(incoming);
    tokio::select! {
        biased;
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(DRAIN_TIMEOUT) => tracing::warn!("requests still running after the drain time"),
    }
}
