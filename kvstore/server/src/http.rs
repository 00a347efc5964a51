//! Plain HTTP beside gRPC: health, version, metrics, the JSON gateway (etcd `server/embed/serve.go` and
//! `server/etcdserver/api/etcdhttp`).

mod access;
mod health;
mod state;

pub use access::AccessControl;

use crate::gateway::Gateway;
use crate::local::Local;
use crate::services::Shared;
use bytes::Bytes;
use health::Health;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use std::sync::Arc;
use tonic::body::Body;

/// What etcd calls `--listen-metrics-urls` answers only these.
const OBSERVED: [&str; 4] = ["/metrics", "/health", "/livez", "/readyz"];

/// Answers what is not gRPC.
#[derive(Clone)]
pub struct HttpEndpoints {
    shared: Shared,
    access: AccessControl,
    gateway: Option<Arc<Gateway>>,
    observed_only: bool,
}

impl HttpEndpoints {
    /// For clients; `gateway` is `None` when it is switched off.
    pub fn new(shared: Shared, access: AccessControl, gateway: Option<Arc<Gateway>>) -> Self {
        Self {
            shared,
            access,
            gateway,
            observed_only: false,
        }
    }

    /// For scrapers and probes: metrics and health, nothing else.
    pub fn observed(shared: Shared) -> Self {
        Self {
            shared,
            access: AccessControl::default(),
            gateway: None,
            observed_only: true,
        }
    }

    /// Answers `request`; the gateway calls `services`.
    pub async fn answer(&self, request: Request<Body>, services: Local) -> Response<Body> {
        if let Err(refusal) = self.access.check_host(&request) {
            return plain(StatusCode::MISDIRECTED_REQUEST, refusal);
        }
        let origin = access::origin(request.headers());
        let mut response = if request.method() == Method::OPTIONS {
            Response::new(Body::empty())
        } else {
            self.route(request, services).await
        };
        self.access.mark(origin.as_ref(), response.headers_mut());
        response
    }

    async fn route(&self, request: Request<Body>, services: Local) -> Response<Body> {
        let uri = request.uri().clone();
        let path = uri.path();
        if self.observed_only
            && !OBSERVED.iter().any(|known| {
                path.strip_prefix(known)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        {
            return not_found();
        }
        // etcd takes the name of an older version for this one.
        let below = path
            .strip_prefix("/v3/")
            .or_else(|| path.strip_prefix("/v3beta/"));
        if let (Some(below), Some(gateway)) = (below, &self.gateway) {
            return gateway.answer(below, request, services).await;
        }
        let query = uri.query().unwrap_or_default();
        let known = match path {
            "/metrics" => return state::metrics(&self.shared),
            "/version" | "/debug/vars" => true,
            _ => Health::knows(path),
        };
        if !known {
            return not_found();
        }
        if request.method() != Method::GET {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n".to_owned());
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        match path {
            "/version" => state::version(&self.shared),
            "/debug/vars" => state::variables(&self.shared),
            path => Health::new(&self.shared, query).answer(path).await,
        }
    }
}

fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = respond("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

fn respond(kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
