//! Watch: each client stream is served by a task of its own. Its answers are encoded once for all watchers that
//! want the same, so the method is served apart from the generated service.

use super::encoded::{Encoded, EncodedCodec};
use super::{Shared, requires_leader};
use crate::auth::Origin;
use crate::watch::{StreamOptions, serve};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Ready, ready};
use http::Request as HttpRequest;
use proto::etcdserverpb::WatchRequest;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tower::Service;

/// Responses that wait for the client's connection; behind them the hub's own queue fills up.
const QUEUE: usize = 16;

/// The only method of etcd's Watch service.
pub const PATH: &str = "/etcdserverpb.Watch/Watch";

/// Serves the method.
#[derive(Clone)]
pub struct WatchMethod {
    shared: Shared,
    max_request_bytes: usize,
}

impl WatchMethod {
    pub fn new(shared: Shared, max_request_bytes: usize) -> Self {
        Self {
            shared,
            max_request_bytes,
        }
    }
}

impl Service<HttpRequest<Body>> for WatchMethod {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let watch = Watch(self.shared.clone());
        let limit = Some(self.max_request_bytes);
        async move {
            let mut grpc = Grpc::new(EncodedCodec::default()).apply_max_message_size_config(limit, None);
            Ok(grpc.streaming(watch, request).await)
        }
        .boxed()
    }
}

struct Watch(Shared);

impl StreamingService<WatchRequest> for Watch {
    type Response = Encoded;
    type ResponseStream = ReceiverStream<Result<Encoded, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<WatchRequest>>) -> Self::Future {
        ready(start(&self.0, request))
    }
}

fn start(
    shared: &Shared,
    request: Request<Streaming<WatchRequest>>,
) -> Result<Response<ReceiverStream<Result<Encoded, Status>>>, Status> {
    shared.check_leader(&request)?;
    let options = StreamOptions {
        store: Arc::clone(&shared.store),
        consensus: shared.consensus.clone(),
        access: shared.access.clone(),
        // Auth may be enabled while the stream lives.
        origin: Origin::of(&request),
        random: shared.random.clone(),
        progress_interval: shared.progress_interval,
        fragment_bytes: shared.max_request_bytes + (512 << 10),
        leader_patience: requires_leader(&request).then_some(shared.election * 3),
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (store, id) = (Arc::clone(&shared.store), shared.consensus.id);
    let stop = shared.cancel.child_token();
    tokio::spawn(async move {
        let mut serving = pin!(serve(options, request.into_inner(), sender, stop.clone()));
        tokio::select! {
            biased;
            () = &mut serving => return,
            // The client goes on at a member that holds what it should.
            () = store.alarms.stopped(id) => stop.cancel(),
        }
        serving.await;
    });
    Ok(Response::new(ReceiverStream::new(receiver)))
}
