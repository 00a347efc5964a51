//! Answers of the gateway: one JSON value, or one a line.

use super::json;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use prost_reflect::DynamicMessage;
use serde_json::json;
use std::convert::Infallible;
use tokio::sync::OwnedSemaphorePermit;
use tonic::body::Body;
use tonic::{Code, Status, Streaming};

/// grpc-gateway `runtime.HTTPStatusFromCode`.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn respond(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to a call that failed before it sent anything.
pub fn failure(status: &Status) -> Response<Body> {
    let text = json::error(status).to_string();
    let mut response = respond(http_status(status.code()), Body::new(Full::from(text)));
    if status.code() == Code::Unauthenticated
        && let Ok(message) = HeaderValue::from_str(status.message())
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, message);
    }
    response
}

/// The answer to a call with one response.
pub fn single(message: &DynamicMessage) -> Response<Body> {
    let mut text = Vec::new();
    match json::write(message, &mut text) {
        Ok(()) => success(Body::new(Full::from(text))),
        Err(status) => failure(&status),
    }
}

fn success(body: Body) -> Response<Body> {
    let mut response = respond(StatusCode::OK, body);
    let headers = response.headers_mut();
    headers.insert(
        "grpc-metadata-content-type",
        HeaderValue::from_static("application/grpc"),
    );
    response
}

/// The answer to a call with several responses. It waits for the first: an error in its place decides the
/// status. The call's `place` is free once the answer is out, or nobody reads it any more.
pub async fn stream(mut messages: Streaming<DynamicMessage>, place: OwnedSemaphorePermit) -> Response<Body> {
    let first = line(messages.message().await);
    let mut response = match &first {
        Line::Result(_) | Line::End => success(Body::empty()),
        Line::Error(status, _) => respond(http_status(status.code()), Body::empty()),
    };
    let start = (Some(first), messages, place);
    let lines = futures::stream::unfold(start, |(ready, mut messages, place)| async move {
        let next = match ready {
            Some(ready) => ready,
            None => line(messages.message().await),
        };
        match next {
            Line::Result(text) => Some((frame(text), (None, messages, place))),
            Line::Error(_, text) => Some((frame(text), (Some(Line::End), messages, place))),
            Line::End => None,
        }
    });
    *response.body_mut() = Body::new(StreamBody::new(Box::pin(lines)));
    response
}

enum Line {
    Result(Bytes),
    Error(Status, Bytes),
    End,
}

fn frame(text: Bytes) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(text))
}

fn line(message: Result<Option<DynamicMessage>, Status>) -> Line {
    let written = message.and_then(|message| {
        let Some(message) = message else {
            return Ok(None);
        };
        let mut text = br#"{"result":"#.to_vec();
        json::write(&message, &mut text)?;
        text.extend_from_slice(b"}\n");
        Ok(Some(text))
    });
    match written {
        Ok(Some(text)) => Line::Result(text.into()),
        Ok(None) => Line::End,
        Err(status) => {
            let text = format!("{}\n", json!({ "error": json::error(&status) }));
            Line::Error(status, text.into())
        }
    }
}
