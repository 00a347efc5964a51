//! Byte streams that pass through to node agents, pods and services.

use crate::http::{Peer, Response};
use crate::state::State;
use crate::user::UserInfo;
use apiserver_core::{ApiError, RequestInfo};
use http::request::Parts;
use hyper::body::Incoming;

pub(crate) async fn proxy(
    _state: &State,
    _info: RequestInfo,
    _parts: Parts,
    _body: Incoming,
    _user: UserInfo,
    _peer: Peer,
) -> Result<Response, ApiError> {
    Err(ApiError::service_unavailable("no node agents are known"))
}
