//! What is served: discovery, OpenAPI, version, and the keys of service-account tokens.

use crate::front::{Call, value_response};
use crate::http::{Accepted, Encoding, Response, View, bytes_response, negotiate};
use crate::state::State;
use apiserver_core::ApiError;
use http::StatusCode;
use serde_json::{Value, json};

pub(crate) async fn answer(state: &State, call: &Call) -> Result<Response, ApiError> {
    let path = call.info.path.trim_end_matches('/');
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let value = match parts.as_slice() {
        ["version"] => version(),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": state.advertised()}]}),
        [".well-known", "openid-configuration"] => state.tokens.openid_configuration(&state.advertised()),
        ["openid", "v1", "jwks"] => state.tokens.jwks(),
        ["apis"] => group_list(),
        ["api", "v1"] => resource_list("", "v1").ok_or_else(ApiError::path_not_found)?,
        ["apis", group, version] => resource_list(group, version).ok_or_else(ApiError::path_not_found)?,
        _ => return Err(ApiError::path_not_found()),
    };
    Ok(value_response(200, &value, call.accepted))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0+trireme", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("linux/{}", match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", arch => arch }),
        "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
    })
}

fn group_list() -> Value {
    let groups: Vec<Value> = kubeschema::discovery()
        .groups
        .iter()
        .filter(|group| !group.name.is_empty())
        .map(|group| {
            let versions: Vec<Value> = group.versions.iter().map(|version| json!({
                "groupVersion": format!("{}/{}", group.name, version.version), "version": version.version})).collect();
            json!({"name": group.name, "preferredVersion": versions[0], "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resource_list(group: &str, version: &str) -> Option<Value> {
    let found = kubeschema::discovery().version(group, version)?;
    let mut resources = Vec::new();
    for resource in &found.resources {
        resources.push(json!({"name": resource.name, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": resource.verbs, "shortNames": resource.short_names, "categories": resource.categories}));
        for sub in &resource.subresources {
            let mut entry = json!({"name": format!("{}/{}", resource.name, sub.name), "singularName": "", "namespaced": resource.namespaced,
                "kind": sub.kind, "verbs": sub.verbs});
            if let Some((group, version)) = &sub.group_version {
                entry["group"] = json!(group);
                entry["version"] = json!(version);
            }
            resources.push(entry);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}))
}
