//! Responses and their bodies.

use super::Encoding;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::Stream;
use futures::StreamExt as _;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::Value;
use std::io::{self, Write as _};

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Response = http::Response<Body>;

/// Bodies from this size on are compressed for clients that take gzip; upstream's number
/// (endpoints/handlers/responsewriters: defaultGzipThresholdBytes).
const COMPRESS_FROM: usize = 128 << 10;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

pub(crate) fn stream_body(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(stream.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

pub(crate) fn bytes_response(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    if let Ok(value) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

pub(crate) fn text_response(status: StatusCode, body: impl Into<Bytes>) -> Response {
    bytes_response(status, "text/plain; charset=utf-8", body)
}

/// The bytes of a JSON or YAML document. Protobuf is made where the kind is known.
pub(crate) fn encode(value: &Value, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Yaml => serde_yaml_ng::to_string(value)
            .expect("a JSON tree has string keys only")
            .into_bytes(),
        Encoding::PrettyJson => {
            let mut bytes = serde_json::to_vec_pretty(value).expect("a JSON tree has string keys only");
            bytes.push(b'\n');
            bytes
        }
        Encoding::Json | Encoding::Protobuf => {
            let mut bytes = serde_json::to_vec(value).expect("a JSON tree has string keys only");
            bytes.push(b'\n');
            bytes
        }
    }
}

/// Compresses a large complete body when the client takes gzip.
pub(crate) async fn compress(request_headers: &HeaderMap, response: Response) -> Response {
    let wanted = request_headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .any(|part| part.trim().split(';').next() == Some("gzip"))
        });
    let known_size = response.body().size_hint().exact().unwrap_or(0);
    let large = usize::try_from(known_size).is_ok_and(|size| size >= COMPRESS_FROM);
    if !wanted || !large || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let plain = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => return http::Response::from_parts(parts, empty()),
    };
    // Level 1 as upstream: most of the gain for little of the time.
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 6), Compression::new(1));
    let packed = encoder.write_all(&plain).and_then(|()| encoder.finish());
    match packed {
        Ok(packed) => {
            parts
                .headers
                .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts
                .headers
                .append(VARY, HeaderValue::from_static("Accept-Encoding"));
            http::Response::from_parts(parts, full(packed))
        }
        Err(_) => http::Response::from_parts(parts, full(plain)),
    }
}
