//! Requests that pass through: logs, exec, attach and port-forward to node agents; proxies to pods, services, nodes.
//!
//! An upgraded connection is two byte streams that are copied into each other: the protocols (websocket channels,
//! SPDY) are spoken by the ends. Follows pkg/registry/core/pod/{strategy,rest} (Kubernetes 1.36).

mod backend;
mod forward;
mod pod;
mod proxied;

use crate::authz::{Question, allowed, forbidden};
use crate::http::{Peer, Response};
use crate::state::State;
use crate::user::UserInfo;
use apiserver_core::{ApiError, RequestInfo};
use http::Request;
use http::request::Parts;
use hyper::body::Incoming;

/// Where a request goes: which connection, which path on it.
struct Target {
    backend: backend::Backend,
    path_and_query: String,
}

pub(crate) async fn proxy(
    state: &State,
    info: RequestInfo,
    parts: Parts,
    body: Incoming,
    user: UserInfo,
    _peer: Peer,
) -> Result<Response, ApiError> {
    let query = parts.uri.query().unwrap_or_default();
    let target = match (info.resource.as_str(), info.subresource.as_str()) {
        ("pods", "exec" | "attach" | "portforward") => {
            if !matches!(info.verb.as_str(), "get" | "create") {
                return Err(ApiError::path_method_not_allowed());
            }
            // A websocket is opened by GET, yet it does what POST does: it needs that right as well.
            if info.verb == "get" {
                let question = Question {
                    verb: "create".to_owned(),
                    ..Question::of_request(&info, query)
                };
                let answer = allowed(state, &user, &question).await?;
                if !answer.allowed {
                    return Err(forbidden(&user, &question, &answer.reason));
                }
            }
            pod::stream(state, &info, query).await?
        }
        ("pods", "log") => {
            if info.verb != "get" {
                return Err(ApiError::path_method_not_allowed());
            }
            match pod::log(state, &info, query).await? {
                Some(target) => target,
                // Not assigned to a node yet: nothing was logged.
                None => return Ok(crate::http::text_response(http::StatusCode::OK, "")),
            }
        }
        _ => proxied::target(state, &info, &parts).await?,
    };
    forward::forward(state, target, Request::from_parts(parts, body)).await
}
