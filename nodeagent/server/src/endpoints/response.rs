//! Answers in the few shapes that the endpoints have.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

pub(crate) type Body = BoxBody<Bytes, Infallible>;
pub(crate) type Response = http::Response<Body>;

fn with(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response {
    let body = Full::new(Bytes::from(text.into())).boxed();
    with(status, "text/plain; charset=utf-8", body)
}

pub(super) fn not_found(what: impl std::fmt::Display) -> Response {
    text(StatusCode::NOT_FOUND, format!("{what} not found"))
}

pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => with(
            StatusCode::OK,
            "application/json",
            Full::new(Bytes::from(bytes)).boxed(),
        ),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// A body that goes on as long as the sender lives.
pub(super) fn stream(chunks: mpsc::Receiver<Bytes>) -> Response {
    let frames = ReceiverStream::new(chunks).map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
    with(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        BodyExt::boxed(StreamBody::new(frames)),
    )
}

pub(super) fn switching(protocol: &'static str) -> Response {
    let mut response = http::Response::new(Empty::new().boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(protocol));
    response
}
