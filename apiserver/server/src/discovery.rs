//! What is served: discovery, version, and the keys of service-account tokens.

use crate::front::{Call, value_response};
use crate::http::{Response, View, bytes_response, negotiate, negotiate_any};
use crate::state::State;
use apiserver_core::ApiError;
use apiserver_core::discovery::{AggregatedVersion, Catalog, Document};
use http::header::{ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

pub(crate) async fn answer(state: &State, call: &Call) -> Result<Response, ApiError> {
    if call.info.verb != "get" && call.info.verb != "head" {
        return Err(ApiError::path_method_not_allowed());
    }
    let path = call.info.path.trim_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let accepted = negotiate(&call.parts.headers, false, false).unwrap_or(call.accepted);
    let catalog = || Catalog::new(&state.registry());
    let value = match parts.as_slice() {
        [""] => json!({"paths": paths(&catalog())}),
        ["version"] => version(),
        ["api" | "apis"] => {
            let core = parts[0] == "api";
            if let Some(version) = wants_aggregated(call) {
                let document = Document::new(&catalog().aggregated(version, core));
                return Ok(document_response(call, document, version.content_type()));
            }
            if core {
                catalog().api_versions(&state.advertised())
            } else {
                catalog().group_list()
            }
        }
        ["api", version] => catalog()
            .resource_list("", version)
            .ok_or_else(ApiError::path_not_found)?,
        ["apis", group] => catalog().group(group).ok_or_else(ApiError::path_not_found)?,
        ["apis", group, version] => catalog()
            .resource_list(group, version)
            .ok_or_else(ApiError::path_not_found)?,
        [".well-known", "openid-configuration"] => state.tokens.openid_configuration(&state.advertised()),
        ["openid", "v1", "jwks"] => {
            let keys = serde_json::to_vec(&state.tokens.jwks()).unwrap_or_default();
            return Ok(bytes_response(StatusCode::OK, "application/jwk-set+json", keys));
        }
        _ => return crate::openapi::answer(state, call).await,
    };
    Ok(value_response(200, &value, accepted))
}

fn wants_aggregated(call: &Call) -> Option<AggregatedVersion> {
    let accepted = negotiate_any(&call.parts.headers, false, |wanted, group, version| {
        match (wanted, group, version) {
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(View::Discovery("v2")),
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => Some(View::Discovery("v2beta1")),
            _ => None,
        }
    })?;
    match accepted.view {
        View::Discovery("v2") => Some(AggregatedVersion::V2),
        View::Discovery(_) => Some(AggregatedVersion::V2beta1),
        _ => None,
    }
}

/// A document with its entity tag, or 304 for a client that has it.
pub(crate) fn document_response(call: &Call, document: Document, content_type: &str) -> Response {
    let known = call.header(IF_NONE_MATCH.as_str()) == document.etag;
    let mut response = if known {
        bytes_response(StatusCode::NOT_MODIFIED, content_type, Vec::new())
    } else {
        bytes_response(StatusCode::OK, content_type, document.body)
    };
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn paths(catalog: &Catalog) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .into();
    for group in catalog.groups.iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        for version in &group.versions {
            paths.push(format!("/apis/{}/{}", group.name, version.version));
        }
    }
    paths.sort();
    paths
}

fn version() -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0+trireme", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("linux/{architecture}"),
        "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
    })
}
