//! One request to a backend and its answer back, upgraded or not.

use super::Target;
use crate::http::{Body, Response, empty};
use crate::state::State;
use apiserver_core::ApiError;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

/// Bytes on the way from one end to the other, each direction.
const COPY_BUFFER: usize = 64 << 10;

pub(super) async fn forward(
    state: &State,
    target: Target,
    mut request: Request<Incoming>,
) -> Result<Response, ApiError> {
    let stream = target.backend.connect(state).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a backend ended");
        }
    });
    let upgrading = request.headers().contains_key(UPGRADE);
    let client = upgrading.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let mut outgoing = Request::builder()
        .method(parts.method)
        .uri(&target.path_and_query);
    if let Some(headers) = outgoing.headers_mut() {
        *headers = passed_on(&parts.headers, upgrading);
        let host = HeaderValue::from_str(&target.backend.address);
        headers.insert(HOST, host.map_err(ApiError::internal)?);
    }
    let body: Body = if upgrading {
        empty()
    } else {
        body.map_err(std::io::Error::other).boxed_unsync()
    };
    let outgoing = outgoing.body(body).map_err(ApiError::internal)?;
    let mut answer = sender.send_request(outgoing).await.map_err(failed)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (mut parts, body) = answer.into_parts();
        for name in [
            CONNECTION,
            TRANSFER_ENCODING,
            HeaderName::from_static("keep-alive"),
        ] {
            parts.headers.remove(name);
        }
        return Ok(http::Response::from_parts(
            parts,
            body.map_err(std::io::Error::other).boxed_unsync(),
        ));
    }
    let Some(client) = client else {
        return Err(ApiError::internal(
            "the backend switched protocols without being asked",
        ));
    };
    let backend = hyper::upgrade::on(&mut answer);
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    let cancel = state.cancel.clone();
    tokio::spawn(async move {
        // The client's half is there only once it got our answer.
        match tokio::try_join!(client, backend) {
            Ok((client, backend)) => copy(TokioIo::new(client), TokioIo::new(backend), cancel).await,
            Err(error) => tracing::debug!(%error, "upgrade failed"),
        }
    });
    Ok(response)
}

async fn copy<A, B>(mut client: A, mut backend: B, cancel: CancellationToken)
where
    A: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    B: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let copying =
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut backend, COPY_BUFFER, COPY_BUFFER);
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        copied = copying => {
            if let Err(error) = copied {
                tracing::debug!(%error, "stream ended");
            }
        }
    }
}

/// The client's headers without those that are about this connection, and without its credentials.
fn passed_on(headers: &HeaderMap, upgrading: bool) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in headers {
        let about_connection = name == CONNECTION
            || name == UPGRADE
            || name == TRANSFER_ENCODING
            || name == HOST
            || matches!(
                name.as_str(),
                "keep-alive" | "proxy-connection" | "te" | "trailer"
            );
        let credentials = name == AUTHORIZATION
            || name.as_str().starts_with("impersonate-")
            || name.as_str().starts_with("x-remote-");
        if about_connection || credentials || (upgrading && name == CONTENT_LENGTH) {
            continue;
        }
        passed.append(name, value.clone());
    }
    if upgrading {
        passed.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Some(protocol) = headers.get(UPGRADE) {
            passed.insert(UPGRADE, protocol.clone());
        }
        strip_token_protocol(&mut passed);
    }
    passed
}

/// Browsers send their token as a websocket protocol: it is a credential too.
fn strip_token_protocol(headers: &mut HeaderMap) {
    let name = HeaderName::from_static("sec-websocket-protocol");
    let Some(text) = headers.get(&name).and_then(|value| value.to_str().ok()) else {
        return;
    };
    let kept: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|protocol| !protocol.starts_with("base64url.bearer.authorization.k8s.io."))
        .collect();
    if let Ok(value) = HeaderValue::from_str(&kept.join(", ")) {
        headers.insert(name, value);
    }
}

fn failed(error: hyper::Error) -> ApiError {
    ApiError::internal(format!("error talking to the backend: {error}"))
}
