//! Answers in the encoding and view that the client asked for.

use super::Call;
use crate::http::{Accepted, Encoding, Response, View, bytes_response, encode};
use apiserver_core::{ApiError, Resource};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

/// A value in the wanted encoding, without a change of view.
pub(crate) fn value_response(code: u16, value: &Value, accepted: Accepted) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if accepted.encoding == Encoding::Protobuf {
        // What has no protobuf form (custom resources, tables) is answered in JSON.
        return match kubeschema::protobuf::encode(value) {
            Ok(bytes) => bytes_response(status, Encoding::Protobuf.media_type(), bytes),
            Err(_) => bytes_response(status, Encoding::Json.media_type(), encode(value, Encoding::Json)),
        };
    }
    bytes_response(
        status,
        accepted.encoding.media_type(),
        encode(value, accepted.encoding),
    )
}

pub(crate) fn api_error_response(error: &ApiError, accepted: Accepted) -> Response {
    if error.code == 406 {
        // Upstream answers these in plain text: no representation was acceptable.
        return crate::http::text_response(StatusCode::NOT_ACCEPTABLE, error.message.clone());
    }
    let mut response = value_response(error.code, &error.to_status(), accepted);
    let seconds = error
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    if seconds > 0
        && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
    {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

/// One object in the wanted view and encoding.
pub(crate) fn object_response(
    call: &Call,
    resource: &Resource,
    code: u16,
    value: &Value,
) -> Result<Response, ApiError> {
    let shown = view_of_object(call, resource, value)?;
    Ok(value_response(
        code,
        shown.as_ref().unwrap_or(value),
        call.accepted,
    ))
}

/// The object as the view shows it; `None` for the object itself.
pub(crate) fn view_of_object(
    call: &Call,
    resource: &Resource,
    value: &Value,
) -> Result<Option<Value>, ApiError> {
    // Deletions answer with a Status: it is shown as it is.
    if value["kind"] == "Status" {
        return Ok(None);
    }
    Ok(match call.accepted.view {
        View::Object | View::Discovery(_) => None,
        View::PartialMetadata(version) => Some(partial(value, version)),
        View::Table(version) => {
            let options = crate::verbs::table_options(call, version)?;
            Some(crate::verbs::table_of_one(resource, value, options))
        }
    })
}

/// `PartialObjectMetadata` of an object.
pub(crate) fn partial(value: &Value, version: &str) -> Value {
    let metadata = value.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata})
}
