//! `/openapi/v2` and `/openapi/v3`: documents kept compressed, made at their first use.

use crate::discovery::document_response;
use crate::front::Call;
use crate::http::{Response, bytes_response, empty};
use crate::state::State;
use apiserver_core::ApiError;
use apiserver_core::discovery::Catalog;
use apiserver_core::openapi::{Compressed, OpenApi, V2_PROTOBUF};
use apiserver_core::request_info::query_value;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderValue, StatusCode};

pub(crate) async fn answer(state: &State, call: &Call) -> Result<Response, ApiError> {
    let documents = state
        .openapi
        .get_or_init(|| OpenApi::new(Catalog::new(&state.registry()), Default::default()));
    match call.info.path.as_str() {
        "/openapi/v2" => {
            if call.header("accept").contains("proto-openapi.spec.v2") {
                return Ok(compressed(call, &documents.v2_protobuf(), V2_PROTOBUF));
            }
            Ok(compressed(call, &documents.v2(), "application/json"))
        }
        "/openapi/v3" => Ok(document_response(call, documents.v3_index(), "application/json")),
        path => {
            let name = path
                .strip_prefix("/openapi/v3/")
                .ok_or_else(ApiError::path_not_found)?;
            let document = documents.v3(name).ok_or_else(ApiError::path_not_found)?;
            let hash = documents.v3_hash(name).unwrap_or_default();
            let wanted = query_value(call.query(), "hash").unwrap_or_default();
            if !wanted.is_empty() && wanted != hash {
                return Ok(redirect(&format!("{path}?hash={hash}")));
            }
            let mut response = compressed(call, &document, "application/json");
            if wanted == hash {
                let forever = HeaderValue::from_static("public, immutable");
                response.headers_mut().insert(CACHE_CONTROL, forever);
            }
            Ok(response)
        }
    }
}

fn redirect(to: &str) -> Response {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

fn compressed(call: &Call, document: &Compressed, content_type: &str) -> Response {
    let gzip = call.header(ACCEPT_ENCODING.as_str()).contains("gzip");
    let mut response = if call.header(IF_NONE_MATCH.as_str()) == document.etag {
        bytes_response(StatusCode::NOT_MODIFIED, content_type, Vec::new())
    } else if gzip {
        bytes_response(StatusCode::OK, content_type, document.gzip.clone())
    } else {
        bytes_response(StatusCode::OK, content_type, document.plain())
    };
    let headers = response.headers_mut();
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        headers.insert(ETAG, etag);
    }
    response
}
