//! The gateway over a WebSocket, as etcd's `grpc-websocket-proxy`: each message of the client is a piece of
//! the request's body, each line of the answer a message to it.

use super::Call;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tonic::body::Body;

/// Messages of the client that wait for the method to take them.
const QUEUE: usize = 16;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The key of the handshake, if the client asks for a WebSocket.
pub fn key(request: &Request<Body>) -> Option<String> {
    let upgrade = request.headers().get(UPGRADE)?.as_bytes();
    if !upgrade.eq_ignore_ascii_case(b"websocket") {
        return None;
    }
    let key = request.headers().get(SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    Some(key.to_owned())
}

/// Answers the handshake; the call is made over the socket.
pub fn answer(mut request: Request<Body>, key: &str, call: Call) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answers = response.headers_mut();
    answers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        answers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    let mut headers = request.headers().clone();
    // Browsers can't set a header for a WebSocket, but they can name protocols.
    let protocols = headers
        .get(SEC_WEBSOCKET_PROTOCOL)
        .and_then(|value| value.to_str().ok());
    if let Some((scheme, token)) = protocols.and_then(|protocols| protocols.split_once(", "))
        && scheme == "Bearer"
        && let Ok(token) = HeaderValue::from_str(token)
    {
        headers.insert(AUTHORIZATION, token);
        answers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("Bearer"));
    }
    tokio::spawn(serve(hyper::upgrade::on(&mut request), headers, call));
    response
}

async fn serve(upgrade: OnUpgrade, headers: HeaderMap, call: Call) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => {
            tracing::debug!(%error, "a WebSocket's handshake");
            return;
        }
    };
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
    if let Err(error) = exchange(socket, &headers, call).await {
        tracing::debug!(%error, "a WebSocket ended");
    }
}

async fn exchange(
    socket: Socket,
    headers: &HeaderMap,
    call: Call,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let (mut answers, mut messages) = socket.split();
    let (requests, pieces) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(QUEUE);
    let receive = async move {
        while let Some(Ok(message)) = messages.next().await {
            let piece = match message {
                Message::Text(text) => text.into(),
                Message::Binary(bytes) => bytes,
                Message::Close(_) => return,
                _ => continue,
            };
            if requests.send(Ok(Frame::data(piece))).await.is_err() {
                // The method wants no more, but may still answer.
                std::future::pending::<()>().await;
            }
        }
    };
    let send = async {
        let body = Body::new(StreamBody::new(ReceiverStream::new(pieces)));
        let mut lines = call.answer(headers, body).await.into_body();
        let mut rest = BytesMut::new();
        while let Some(Ok(frame)) = lines.frame().await {
            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(end + 1);
                answers.send(text(&line[..end])).await?;
            }
        }
        if !rest.is_empty() {
            answers.send(text(&rest)).await?;
        }
        answers.close().await
    };
    tokio::select! {
        biased;
        sent = send => sent,
        // The client is gone: so is the call.
        () = receive => Ok(()),
    }
}

/// Answers are JSON, so they are UTF-8.
fn text(line: &[u8]) -> Message {
    Message::text(String::from_utf8_lossy(line).into_owned())
}
