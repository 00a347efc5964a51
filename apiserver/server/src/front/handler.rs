//! The order in which every request is treated.

use super::call::Call;
use super::dispatch::dispatch;
use super::lanes::Lanes;
use super::render::api_error_response;
use crate::authn::{authenticate, impersonated};
use crate::authz::authorize;
use crate::health::Health;
use crate::http::{
    Accepted, BodyError, Encoding, Handler, Peer, Response, View, compress, negotiate, read_body,
};
use crate::metrics::Metrics;
use crate::state::State;
use apiserver_core::{ApiError, RequestInfo};
use futures::FutureExt as _;
use http::header::{CACHE_CONTROL, HeaderName};
use http::{HeaderValue, Method, Request};
use hyper::body::Incoming;
use jiff::Timestamp;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::time::Instant;

const PLAIN: Accepted = Accepted {
    encoding: Encoding::Json,
    view: View::Object,
};

/// The front door: everything that comes in passes here.
pub(crate) struct Front {
    pub state: Arc<State>,
    pub health: Arc<Health>,
    pub metrics: Metrics,
    lanes: Lanes,
}

impl Front {
    pub(crate) fn new(state: Arc<State>, health: Arc<Health>) -> Self {
        Self {
            lanes: Lanes::new(&state.config.limits),
            metrics: Metrics::default(),
            health,
            state,
        }
    }

    async fn answer(&self, peer: Peer, request: Request<Incoming>) -> Response {
        let started = Instant::now();
        let remote = peer.remote;
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let request_headers = parts.headers.clone();
        let path = parts.uri.path().to_owned();
        let audit_id = request_headers
            .get("audit-id")
            .cloned()
            .or_else(|| HeaderValue::from_str(&self.state.env.random.uuid()).ok());
        let mut label = (String::new(), String::new());
        let guarded = AssertUnwindSafe(self.treat(peer, parts, body, &mut label)).catch_unwind();
        let mut response = match guarded.await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let accepted = negotiate(&request_headers, false, false).unwrap_or(PLAIN);
                api_error_response(
                    &error,
                    Accepted {
                        view: View::Object,
                        ..accepted
                    },
                )
            }
            Err(_) => {
                tracing::error!(%method, %path, "request handler panicked");
                api_error_response(
                    &ApiError::internal(
                        "This request caused apiserver to panic. Look in the logs for details.",
                    ),
                    PLAIN,
                )
            }
        };
        let headers = response.headers_mut();
        if let Some(audit_id) = audit_id {
            headers.insert(HeaderName::from_static("audit-id"), audit_id);
        }
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-cache, private"));
        self.metrics
            .observe(&label.0, &label.1, response.status().as_u16(), started.elapsed());
        tracing::debug!(%remote, %method, %path, status = response.status().as_u16(), "answered");
        let mut response = compress(&request_headers, response).await;
        if method == Method::HEAD {
            *response.body_mut() = crate::http::empty();
        }
        response
    }

    async fn treat(
        &self,
        peer: Peer,
        parts: http::request::Parts,
        body: Incoming,
        label: &mut (String, String),
    ) -> Result<Response, ApiError> {
        let state = &self.state;
        let query = parts.uri.query().unwrap_or_default();
        let mut info = RequestInfo::read(parts.method.as_str(), parts.uri.path(), query)
            .map_err(ApiError::bad_request)?;
        if parts.method == Method::HEAD && !info.is_resource_request {
            info.verb = "get".to_owned();
        }
        *label = (info.verb.clone(), info.resource.clone());
        let user = authenticate(state, &peer, &parts, &info).await?;
        let user = impersonated(state, user, &parts.headers).await?;
        let long_running = is_long_running(&info);
        let _place = if long_running {
            None
        } else {
            self.lanes.enter(&user, &info)?
        };
        authorize(state, &user, &info, query).await?;
        if let Some(response) = self.health_or_metrics(&info, query).await {
            return Ok(response);
        }
        if is_proxied(&info) {
            return crate::streaming::proxy(state, info, parts, body, user, peer).await;
        }
        let timeout = state.config.limits.request_timeout;
        let timed_out = |_| ApiError::timeout("request did not complete within the allotted timeout", 0);
        // Whoever sends half a body must not hold a place for ever.
        let reading = tokio::time::timeout(timeout, read_body(body, state.config.limits.body_bytes));
        let body = reading.await.map_err(timed_out)?.map_err(|error| match error {
            BodyError::TooLarge(limit) => ApiError::request_entity_too_large(format!("limit is {limit}")),
            BodyError::Broken(why) => ApiError::bad_request(why),
        })?;
        let call = Call {
            now: state.now(),
            accepted: PLAIN,
            warnings: Vec::new(),
            info,
            parts,
            body,
            user,
            peer,
        };
        if long_running {
            return dispatch(self, call).await;
        }
        tokio::time::timeout(timeout, dispatch(self, call))
            .await
            .map_err(timed_out)?
    }

    async fn health_or_metrics(&self, info: &RequestInfo, query: &str) -> Option<Response> {
        if info.is_resource_request {
            return None;
        }
        match info.path.as_str() {
            "/metrics" => Some(self.metrics.render()),
            path => self.health.answer(path, query).await,
        }
    }
}

impl Handler for Front {
    async fn handle(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Response {
        let front = Arc::clone(&self);
        let mut response = self.answer(peer, request).await;
        response
            .headers_mut()
            .entry(http::header::DATE)
            .or_insert_with(|| http_date(front.state.now()));
        response
    }
}

/// RFC 9110's date, such as `Sat, 21 Nov 2026 04:05:06 GMT`.
fn http_date(now: Timestamp) -> HeaderValue {
    let text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::from_str(&text).expect("a date is visible ASCII")
}

fn is_long_running(info: &RequestInfo) -> bool {
    info.verb == "watch" || is_proxied(info) || info.subresource == "log"
}

/// Requests that pass through to a node agent, a pod or a service: body and all.
fn is_proxied(info: &RequestInfo) -> bool {
    info.is_resource_request
        && info.api_group.is_empty()
        && match info.resource.as_str() {
            "pods" => matches!(
                info.subresource.as_str(),
                "exec" | "attach" | "portforward" | "proxy" | "log"
            ),
            "services" | "nodes" => info.subresource == "proxy",
            _ => false,
        }
}
