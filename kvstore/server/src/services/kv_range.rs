//! `KV.Range` on its short way: from the stored records to the wire without values in between.

use super::encoded::{Encoded, EncodedCodec, Pieces};
use super::{Shared, kv};
use crate::auth::Caller;
use crate::status;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Request as HttpRequest;
use kvstore_core::{Read, encoded_range};
use prost::Message as _;
use proto::etcdserverpb::{RangeRequest, RangeResponse};
use std::convert::Infallible;
use std::task::{Context, Poll};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};
use tower::Service;

/// The method's path.
pub const PATH: &str = "/etcdserverpb.KV/Range";

/// Serves the method.
#[derive(Clone)]
pub struct RangeMethod {
    shared: Shared,
    max_request_bytes: usize,
}

impl RangeMethod {
    pub fn new(shared: Shared, max_request_bytes: usize) -> Self {
        Self {
            shared,
            max_request_bytes,
        }
    }
}

impl Service<HttpRequest<Body>> for RangeMethod {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let answer = Answer(self.shared.clone());
        let limit = Some(self.max_request_bytes);
        async move {
            let mut grpc = Grpc::new(EncodedCodec::default()).apply_max_message_size_config(limit, None);
            let mut response = grpc.unary(answer, request).await;
            Ok(match response.extensions_mut().remove().map(Pieces::into_body) {
                Some(Ok(body)) => response.map(|_| body),
                Some(Err(status)) => status.into_http(),
                None => response,
            })
        }
        .boxed()
    }
}

struct Answer(Shared);

impl UnaryService<RangeRequest> for Answer {
    type Response = Encoded;
    type Future = BoxFuture<'static, Result<Response<Encoded>, Status>>;

    fn call(&mut self, request: Request<RangeRequest>) -> Self::Future {
        let shared = self.0.clone();
        async move {
            let caller = kv::admit_range(&shared, &request).await?;
            answer(&shared, caller.as_ref(), request.get_ref())
        }
        .boxed()
    }
}

fn answer(
    shared: &Shared,
    caller: Option<&Caller>,
    request: &RangeRequest,
) -> Result<Response<Encoded>, Status> {
    let view = shared.store.view();
    shared.access.check_range(&*view, caller, request)?;
    let begun = Instant::now();
    let found = find(shared, &*view, request);
    shared.store.metrics.state.range(found.is_ok(), begun.elapsed());
    found
}

fn find(shared: &Shared, view: &dyn Read, request: &RangeRequest) -> Result<Response<Encoded>, Status> {
    let header = |revision| RangeResponse {
        header: Some(shared.consensus.header(revision)),
        ..RangeResponse::default()
    };
    match encoded_range(view, request).map_err(|error| status::failed(&error))? {
        Some(range) => {
            let head = header(range.revision).encode_to_vec().into();
            let rest = RangeResponse {
                more: range.more,
                count: range.count,
                ..RangeResponse::default()
            };
            Ok(joined(head, range.kvs, rest.encode_to_vec().into()))
        }
        None => {
            let mut range = kvstore_core::range(view, request).map_err(|error| status::failed(&error))?;
            let revision = range.header.as_ref().map_or(0, |header| header.revision);
            range.header = header(revision).header;
            Ok(joined(range.encode_to_vec().into(), Vec::new(), Bytes::new()))
        }
    }
}

/// The message of `head`, `pieces` and `tail`: few are copied together, many go as they are.
fn joined(head: Bytes, mut pieces: Vec<Bytes>, tail: Bytes) -> Response<Encoded> {
    if pieces.len() <= 1 {
        return Response::new(Encoded([head, pieces.pop().unwrap_or_default(), tail]));
    }
    pieces.insert(0, head);
    pieces.push(tail);
    let mut response = Response::new(Encoded::default());
    response.extensions_mut().insert(Pieces(pieces));
    response
}
