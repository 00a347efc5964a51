//! Serves gRPC services, and plain HTTP beside them, on connections of the network seam.

use crate::authority::AnyAuthority;
use crate::config::{ConnectionLimits, Serves};
use crate::http::HttpEndpoints;
use crate::local::Local;
pub use crate::metrics::Counted;
use crate::metrics::Metrics;
use crate::services::LearnerGuard;
use bytes::Bytes;
use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use support::tls::{PeerIdentity, handshake_failure};
use support::{Incoming, Listener, Security};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::BoxError;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};

/// How long a client of HTTP/1 may take for the head of a request, or stay idle before it (as etcd).
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// What one stream, and one connection, may send ahead of its reader.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// How tonic's refusal of a message beyond the limit begins.
const CODEC_TOO_LARGE: &str = "Error, decoded message length too large: found ";

/// For whom there is a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Client,
    Peer,
}

type Route = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Services by name.
#[derive(Clone, Default)]
pub struct Router {
    routes: BTreeMap<&'static str, Route>,
    /// By whole path; they come before the services.
    methods: BTreeMap<&'static str, Route>,
    http: Option<HttpEndpoints>,
    metrics: Option<Arc<Metrics>>,
    guard: Option<LearnerGuard>,
    serves: Serves,
    /// Unary calls of clients that take longer are logged; zero: none.
    slow: Duration,
}

impl Router {
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.routes.insert(S::NAME, BoxCloneSyncService::new(service));
        self
    }

    /// Serves one method apart from its service.
    pub fn with_method<S>(mut self, path: &'static str, method: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.methods.insert(path, BoxCloneSyncService::new(method));
        self
    }

    /// Refuses gRPC calls that a learner doesn't serve.
    pub fn with_guard(mut self, guard: LearnerGuard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Answers requests that aren't gRPC.
    pub fn with_http(mut self, http: HttpEndpoints) -> Self {
        self.http = Some(http);
        self
    }

    /// Counts the calls of clients.
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Logs clients' unary calls that take longer (etcd `--warning-unary-request-duration`).
    pub fn with_slow(mut self, slow: Duration) -> Self {
        self.slow = slow;
        self
    }

    /// Answers one gRPC call.
    pub async fn grpc<B>(&self, request: Request<B>, counted: bool) -> Response<Counted<Body>>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let path = request.uri().path();
        let name = path.split('/').nth(1).unwrap_or_default();
        if let Some(Err(refused)) = self.guard.as_ref().map(|guard| guard.check(path)) {
            return refused.into_http::<Body>().map(Counted::plain);
        }
        let method = self.methods.get(path);
        let Some(route) = method.or_else(|| self.routes.get(name)).cloned() else {
            let unknown = Status::unimplemented(format!("unknown service {name}"));
            return unknown.into_http::<Body>().map(Counted::plain);
        };
        let metrics = self.metrics.as_ref().filter(|_| counted);
        let started = metrics.and_then(|metrics| metrics.rpc.start(path, request.headers()));
        let Some(started) = started else {
            let Ok(response) = route.oneshot(request.map(Body::new)).await;
            return in_the_words_of_grpc_go(response).map(Counted::plain);
        };
        let request = request.map(|body| Body::new(started.request(body)));
        let Ok(response) = route.oneshot(request).await;
        if !self.slow.is_zero() && started.is_unary() {
            let spent = started.elapsed();
            if spent > self.slow {
                // etcd `server/etcdserver/api/v3rpc/interceptor.go`, `logExpensiveRequestStats`.
                tracing::warn!("response type" = started.path(), "time spent" = ?spent, "request stats");
            }
        }
        let (head, body) = in_the_words_of_grpc_go(response).into_parts();
        let body = started.response(&head.headers, body);
        Response::from_parts(head, body)
    }

    /// Leaves out gRPC, or everything else.
    pub fn only(mut self, serves: Serves) -> Self {
        self.serves = serves;
        if serves == Serves::Grpc {
            self.http = None;
        }
        self
    }

    async fn call(
        self: Arc<Self>,
        mut request: Request<hyper::body::Incoming>,
        identity: Option<Arc<PeerIdentity>>,
    ) -> Result<Response<Counted<Body>>, Infallible> {
        if self.serves == Serves::Http && is_grpc(&request) {
            let refused = Status::unimplemented("this address serves HTTP only");
            return Ok(refused.into_http::<Body>().map(Counted::plain));
        }
        let name = request.uri().path().split('/').nth(1).unwrap_or_default();
        let known = self.routes.contains_key(name) || self.methods.contains_key(request.uri().path());
        if known || is_grpc(&request) {
            // Only here: a certificate doesn't say who asks over the JSON gateway.
            if let Some(identity) = identity {
                request.extensions_mut().insert(identity);
            }
            return Ok(self.grpc(request, true).await);
        }
        let response = match &self.http {
            Some(http) => {
                let services = Local::of_client(Arc::clone(&self));
                http.answer(request.map(Body::new), services).await
            }
            None => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = http::StatusCode::NOT_FOUND;
                response
            }
        };
        Ok(response.map(Counted::plain))
    }
}

/// A request beyond the limit is refused by the codec; clients of etcd know the words of grpc-go for it.
fn in_the_words_of_grpc_go(response: Response<Body>) -> Response<Body> {
    let too_large = Status::from_header_map(response.headers()).and_then(|status| {
        let numbers = status
            .message()
            .strip_prefix(CODEC_TOO_LARGE)?
            .strip_suffix(" bytes")?;
        let (length, limit) = numbers.split_once(" bytes, the limit is: ")?;
        let text = format!("grpc: received message larger than max ({length} vs. {limit})");
        Some(Status::resource_exhausted(text))
    });
    match too_large {
        Some(status) => status.into_http(),
        None => response,
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Accepts connections and serves `router` on each, until `stop`; then lets the open requests finish.
pub async fn serve(
    listener: Box<dyn Listener>,
    (endpoint, security): (Endpoint, Security),
    router: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let router = Arc::new(router);
    let mut incoming = support::incoming_with(listener, security, move |remote, error| {
        // etcd `server/embed/config_logging.go`, `handshakeErr` and its kin.
        let error = handshake_failure(error);
        match endpoint {
            Endpoint::Client => {
                tracing::warn!("remote-addr" = %remote, error, "rejected connection on client endpoint");
            }
            Endpoint::Peer => {
                tracing::warn!("remote-addr" = %remote, error, "rejected connection on peer endpoint");
            }
        }
    });
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = incoming.recv() => accepted,
        };
        match accepted {
            Some(Ok(stream)) => {
                connections.spawn(connection(stream, Arc::clone(&router), limits, stop.clone()));
            }
            Some(Err(error)) => tracing::debug!(%error, "a connection was not accepted"),
            None => break,
        }
    }
    drop(incoming);
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: Incoming,
    router: Arc<Router>,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let identity = stream.info().identity.clone();
    let service = tower::service_fn(move |request| Arc::clone(&router).call(request, identity.clone()));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .http2()
        // gRPC needs none, and bytes on the wire must not depend on a clock outside the seams.
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout)
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let stream = TokioIo::new(AnyAuthority::new(stream));
    let connection = builder.serve_connection_with_upgrades(stream, TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        biased;
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::trace!(error, "a connection ended");
    }
}
