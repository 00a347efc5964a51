//! The services of this member, called without a network in between: by the JSON gateway, and by the
//! services that are built on others.

use crate::grpc_server::{Counted, Router};
use http::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tower::Service;

/// A channel for generated clients. A call takes the same way through a service as one from outside, so
/// it is checked in the same way; metadata and extensions go along as the caller sets them.
#[derive(Clone)]
pub struct Local {
    router: Arc<Router>,
    counted: bool,
}

impl Local {
    /// For calls on behalf of a client that are counted as gRPC calls.
    pub fn of_client(router: Arc<Router>) -> Self {
        Self {
            router,
            counted: true,
        }
    }

    /// For calls that are a part of another.
    pub fn inner(router: Router) -> Self {
        Self {
            router: Arc::new(router),
            counted: false,
        }
    }
}

impl Service<Request<Body>> for Local {
    type Response = Response<Counted<Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (router, counted) = (Arc::clone(&self.router), self.counted);
        Box::pin(async move { Ok(router.grpc(request, counted).await) })
    }
}
