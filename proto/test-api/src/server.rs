//! The same objects behind sockets, for components with a whole client, in real time.

use crate::{Api, Faults, Process};
use futures::FutureExt as _;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::Body;
use support::{Env, Listener};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tower::BoxError;

/// One of any number of servers of the same objects. Dropping it closes its connections and its port.
pub struct Server {
    pub address: String,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// On a port of loopback, without TLS. `faults` are those that all its clients suffer.
    ///
    /// # Panics
    /// When no port is left.
    pub async fn start(api: &Api, env: &Env, faults: Faults) -> Self {
        let listener = env.net.listen("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let process = Process::of(api.clone(), env.random.fork(), &address, faults);
        Self {
            _task: AbortOnDropHandle::new(tokio::spawn(accept(listener, process))),
            address,
        }
    }
}

async fn accept(listener: Box<dyn Listener>, process: Process) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let process = process.clone();
        let service = service_fn(move |request| answer(process.clone(), request));
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        connections.spawn(connection.map(drop));
    }
}

/// What gets lost ends its stream.
async fn answer(process: Process, request: Request<Incoming>) -> Result<crate::request::Answer, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    process.send(Request::from_parts(parts, Body::from(body))).await
}
