//! A service that isn't there yet: the peer listener is open before the member knows who it is.

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::{Service, ServiceExt as _};

/// Answers `Unavailable` until it is opened.
pub struct LateService<S> {
    inside: Arc<OnceLock<S>>,
}

impl<S> Clone for LateService<S> {
    fn clone(&self) -> Self {
        Self {
            inside: Arc::clone(&self.inside),
        }
    }
}

impl<S> Default for LateService<S> {
    fn default() -> Self {
        Self {
            inside: Arc::new(OnceLock::new()),
        }
    }
}

impl<S> LateService<S> {
    /// From now on `service` answers.
    pub fn open(&self, service: S) {
        // Opened once: a second time would be a fault of ours, and change nothing.
        let _ = self.inside.set(service);
    }
}

impl<S: NamedService> NamedService for LateService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for LateService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.inside.get() {
            Some(service) => service.clone().oneshot(request).boxed(),
            None => {
                let status = Status::unavailable("this member doesn't take part yet");
                ready(Ok(status.into_http())).boxed()
            }
        }
    }
}
