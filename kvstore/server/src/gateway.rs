//! etcd's JSON gateway: every method under `/v3/`, as grpc-gateway v2 serves it for etcd 3.6.
//!
//! Invariants:
//! - A request becomes a call to the same service as one that comes by gRPC: users, learners, leaders and
//!   limits are checked there, and only there.
//! - The certificate of the connection is no identity here, as in etcd: only the token in `Authorization` is.

mod codec;
mod json;
mod reply;
mod routes;
mod websocket;

use crate::descriptors;
use crate::local::Local;
use crate::status;
use codec::DynamicCodec;
use futures::StreamExt as _;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response};
use json::Requests;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::{Request, Status};

/// What a client's library sets as metadata comes as a header of this prefix.
const METADATA: &str = "grpc-metadata-";

/// One path of the gateway.
#[derive(Clone)]
struct Target {
    path: PathAndQuery,
    method: MethodDescriptor,
}

/// The gateway of a member.
pub struct Gateway {
    /// By the path below `/v3/`.
    targets: BTreeMap<&'static str, Target>,
    limit: usize,
    /// Calls under way: etcd's gateway makes them all over one connection, on which they are streams.
    streams: Arc<Semaphore>,
}

impl Gateway {
    /// Messages are refused above `limit` bytes of protobuf; calls beyond `streams` at a time wait.
    pub fn new(limit: usize, streams: u32) -> Self {
        let streams = usize::try_from(streams).unwrap_or(usize::MAX);
        let targets = routes::ROUTES.iter().filter_map(|(route, method)| {
            let (service, name) = method.split_once('/')?;
            let service = descriptors::etcd().get_service_by_name(service)?;
            let target = Target {
                path: PathAndQuery::try_from(format!("/{method}")).ok()?,
                method: service.methods().find(|method| method.name() == name)?,
            };
            Some((*route, target))
        });
        Self {
            targets: targets.collect(),
            // Base64 is longer by a third, names and quotes come on top.
            limit: limit * 2,
            streams: Arc::new(Semaphore::new(streams.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Answers a request to `/v3/` and `path`.
    pub async fn answer(&self, path: &str, request: http::Request<Body>, services: Local) -> Response<Body> {
        let Some(target) = self.targets.get(path) else {
            return reply::failure(&Status::not_found("Not Found"));
        };
        let call = Call {
            target: target.clone(),
            limit: self.limit,
            streams: Arc::clone(&self.streams),
            services,
        };
        if let Some(key) = websocket::key(&request) {
            return websocket::answer(request, &key, call);
        }
        if request.method() != Method::POST {
            return reply::failure(&Status::unimplemented("Method Not Allowed"));
        }
        let (head, body) = request.into_parts();
        call.answer(&head.headers, body).await
    }
}

/// One request on its way to its method.
struct Call {
    target: Target,
    limit: usize,
    streams: Arc<Semaphore>,
    services: Local,
}

impl Call {
    async fn answer(self, headers: &HeaderMap, body: Body) -> Response<Body> {
        match self.make(headers, body).await {
            Ok(response) => response,
            Err(status) => reply::failure(&status),
        }
    }

    async fn make(self, headers: &HeaderMap, body: Body) -> Result<Response<Body>, Status> {
        let Target { path, method } = self.target;
        let metadata = metadata(headers);
        let mut requests = Requests::new(body, method.input(), self.limit);
        let first = requests.next().await?;
        let place = self.streams.acquire_owned().await;
        let place = place.map_err(|_| status::stopped())?;
        let codec = DynamicCodec {
            output: method.output(),
        };
        let mut services = Grpc::new(self.services).max_decoding_message_size(usize::MAX);
        if method.is_client_streaming() {
            let later = futures::stream::unfold(requests, |mut requests| async move {
                match requests.next().await {
                    Ok(message) => Some((message?, requests)),
                    Err(status) => {
                        tracing::debug!(%status, "a request within a stream");
                        None
                    }
                }
            });
            let all = futures::stream::iter(first).chain(later);
            let call = services.streaming(with(metadata, all), path, codec);
            return Ok(reply::stream(call.await?.into_inner(), place).await);
        }
        let request = with(
            metadata,
            first.unwrap_or_else(|| DynamicMessage::new(method.input())),
        );
        if method.is_server_streaming() {
            let call = services.server_streaming(request, path, codec);
            return Ok(reply::stream(call.await?.into_inner(), place).await);
        }
        let call = services.unary(request, path, codec);
        Ok(reply::single(call.await?.get_ref()))
    }
}

fn with<T>(metadata: MetadataMap, message: T) -> Request<T> {
    Request::from_parts(metadata, tonic::Extensions::default(), message)
}

/// The token, and what the client marks as metadata.
fn metadata(headers: &HeaderMap) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    // As grpc-gateway marks its calls.
    metadata.insert("grpcgateway-accept", AsciiMetadataValue::from_static("*/*"));
    for (name, value) in headers {
        let value = value.as_bytes();
        let (key, value) = match name.as_str() {
            // etcd's tokens have no scheme; some libraries can't leave it out.
            "authorization" => ("authorization", value.strip_prefix(b"Bearer ").unwrap_or(value)),
            name => match name.strip_prefix(METADATA) {
                Some(key) => (key, value),
                None => continue,
            },
        };
        let key = key.parse::<AsciiMetadataKey>();
        if let (Ok(key), Ok(value)) = (key, AsciiMetadataValue::try_from(value)) {
            metadata.insert(key, value);
        }
    }
    metadata
}
