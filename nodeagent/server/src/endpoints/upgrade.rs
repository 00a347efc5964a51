//! Connections that change their protocol: WebSocket in its Kubernetes sub-protocols, or raw SPDY.

use super::response::{self, Response};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io;
use support::BoxedIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

pub(super) type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// Bytes between a tunnel's socket and its protocol.
const TUNNEL_BUFFER: usize = 64 << 10;

/// What the client asks to change to.
pub(super) enum Wanted {
    WebSocket {
        key: String,
        /// In the client's order of preference.
        protocols: Vec<String>,
    },
    Spdy {
        protocols: Vec<String>,
    },
    Nothing,
}

pub(super) fn wanted(request: &Request<Incoming>) -> Wanted {
    let lists = |name: &str| -> Vec<String> {
        let values = request.headers().get_all(name).iter();
        let values = values.filter_map(|v| v.to_str().ok());
        let words = values.flat_map(|v| v.split(','));
        words.map(|w| w.trim().to_owned()).collect()
    };
    let upgrade = request
        .headers()
        .get(header::UPGRADE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    match (upgrade.as_str(), key.and_then(|k| k.to_str().ok())) {
        ("websocket", Some(key)) => Wanted::WebSocket {
            key: key.to_owned(),
            protocols: lists("sec-websocket-protocol"),
        },
        ("spdy/3.1", _) => Wanted::Spdy {
            protocols: lists("x-stream-protocol-version"),
        },
        _ => Wanted::Nothing,
    }
}

/// The first of the client's protocols that we speak.
pub(super) fn choose<'a>(ours: &[&'a str], theirs: &[String]) -> Option<&'a str> {
    let find = |name: &String| ours.iter().find(|own| *own == name).copied();
    theirs.iter().find_map(find)
}

pub(super) fn no_common_protocol() -> Response {
    response::text(StatusCode::FORBIDDEN, "unable to negotiate a streaming protocol")
}

pub(super) fn must_upgrade() -> Response {
    response::text(StatusCode::BAD_REQUEST, "Upgrade request required")
}

/// Answers the WebSocket handshake; `serve` gets the socket once the answer is out.
pub(super) fn web_socket<F>(
    request: &mut Request<Incoming>,
    key: &str,
    protocol: &str,
    serve: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send,
{
    let mut answer = response::switching("websocket");
    let accept = derive_accept_key(key.as_bytes());
    let pairs = [
        (header::SEC_WEBSOCKET_ACCEPT, accept.as_str()),
        (header::SEC_WEBSOCKET_PROTOCOL, protocol),
    ];
    for (name, value) in pairs {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(io) => {
                let io = TokioIo::new(io);
                serve(WebSocketStream::from_raw_socket(io, Role::Server, None).await).await;
            }
            Err(error) => tracing::debug!(%error, "the client did not upgrade"),
        }
    });
    answer
}

/// Answers a SPDY upgrade; `serve` gets the raw connection once the answer is out.
pub(super) fn spdy<F>(
    request: &mut Request<Incoming>,
    protocol: &str,
    serve: impl FnOnce(BoxedIo) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send,
{
    let mut answer = response::switching("SPDY/3.1");
    if let Ok(value) = HeaderValue::from_str(protocol) {
        answer.headers_mut().insert("x-stream-protocol-version", value);
    }
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(io) => serve(Box::new(TokioIo::new(io))).await,
            Err(error) => tracing::debug!(%error, "the client did not upgrade"),
        }
    });
    answer
}

/// A close that says that all is well: without the code, kubectl reports an error.
pub(super) fn goodbye() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }))
}

/// The bytes inside a WebSocket's binary messages as a stream of their own.
pub(super) fn tunnel(socket: WebSocket) -> BoxedIo {
    let (near, far) = tokio::io::duplex(TUNNEL_BUFFER);
    tokio::spawn(async move {
        if let Err(error) = pump(socket, far).await {
            tracing::debug!(%error, "tunnel ended");
        }
    });
    Box::new(near)
}

async fn pump(socket: WebSocket, io: tokio::io::DuplexStream) -> io::Result<()> {
    let (mut sink, mut source) = socket.split();
    let (mut read, mut write) = tokio::io::split(io);
    let inbound = async {
        while let Some(message) = source.next().await {
            match message.map_err(io::Error::other)? {
                Message::Binary(data) => write.write_all(&data).await?,
                Message::Close(_) => break,
                _ => {}
            }
        }
        Ok::<_, io::Error>(())
    };
    let outbound = async {
        let mut buffer = vec![0; TUNNEL_BUFFER];
        loop {
            let length = read.read(&mut buffer).await?;
            if length == 0 {
                return sink.send(goodbye()).await.map_err(io::Error::other);
            }
            let data = Bytes::copy_from_slice(&buffer[..length]);
            sink.send(Message::Binary(data)).await.map_err(io::Error::other)?;
        }
    };
    // Either end closing ends the tunnel.
    tokio::select! {
        biased;
        result = inbound => result,
        result = outbound => result,
    }
}
