//! What a request asks for: verb and resource, read from method, path and query.
//!
//! Follows `apiserver/pkg/endpoints/request/requestinfo.go` (1.36). Authorization, audit and routing all use
//! this one reading of a request, so they cannot disagree.

use crate::field_selector;
use crate::resource::{GroupResource, GroupVersionResource};

/// The reading of one request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RequestInfo {
    /// False for paths such as `/healthz`, `/apis` and `/openapi/v3`: then only `path` and `verb` (the method in
    /// lower case) are set.
    pub is_resource_request: bool,
    /// The path without the query.
    pub path: String,
    pub verb: String,
    /// `api` or `apis`.
    pub api_prefix: String,
    pub api_group: String,
    pub api_version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// The parts after the API version and namespace: resource, name, subresource and what follows it, for
    /// example the path behind `proxy`.
    pub parts: Vec<String>,
    /// The path uses the old form `/watch/...`.
    pub deprecated_watch: bool,
}

const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    /// Reads a request. `query` is the raw query string, without `?`; it may be empty.
    ///
    /// # Errors
    /// The text of a bad request, when a special verb is not followed by a resource.
    pub fn read(method: &str, path: &str, query: &str) -> Result<Self, String> {
        let mut info = Self {
            path: path.to_owned(),
            verb: method.to_ascii_lowercase(),
            ..Self::default()
        };
        let all: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .filter(|part| !part.is_empty())
            .map(percent_decode)
            .collect();
        let mut parts = all.as_slice();
        if parts.len() < 3 || !matches!(parts[0].as_str(), "api" | "apis") {
            return Ok(info);
        }
        info.api_prefix = parts[0].clone();
        parts = &parts[1..];
        if info.api_prefix == "apis" {
            if parts.len() < 3 {
                return Ok(info);
            }
            info.api_group = parts[0].clone();
            parts = &parts[1..];
        }
        info.is_resource_request = true;
        info.api_version = parts[0].clone();
        parts = &parts[1..];

        if matches!(parts[0].as_str(), "proxy" | "watch") {
            if parts.len() < 2 {
                return Err(format!("unable to determine kind and namespace from url, {path}"));
            }
            info.deprecated_watch = parts[0] == "watch";
            info.verb = parts[0].clone();
            parts = &parts[1..];
        } else {
            info.verb = match method {
                "POST" => "create",
                "GET" | "HEAD" => "get",
                "PUT" => "update",
                "PATCH" => "patch",
                "DELETE" => "delete",
                _ => "",
            }
            .to_owned();
        }

        if parts[0] == "namespaces" && parts.len() > 1 {
            info.namespace = parts[1].clone();
            // `/namespaces/x/pods` is about pods, `/namespaces/x/status` about the namespace itself.
            if parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2].as_str()) {
                parts = &parts[2..];
            }
        }
        info.parts = parts.to_vec();
        info.resource = parts[0].clone();
        if parts.len() >= 2 {
            info.name = parts[1].clone();
        }
        if parts.len() >= 3 && info.verb != "proxy" {
            info.subresource = parts[2].clone();
        }
        if info.resource == "namespaces" && !info.name.is_empty() {
            // The namespace of a namespace is itself: rules of its own roles apply to it.
            info.namespace = info.name.clone();
        }
        info.refine_collection_verb(query);
        Ok(info)
    }

    fn refine_collection_verb(&mut self, query: &str) {
        if !self.name.is_empty() {
            return;
        }
        match self.verb.as_str() {
            "get" => {
                let watch = query_value(query, "watch").is_some_and(|value| truthy(&value));
                self.verb = if watch { "watch" } else { "list" }.to_owned();
            }
            "delete" => self.verb = "deletecollection".to_owned(),
            _ => {}
        }
        // One object selected by name is authorized as that object.
        if matches!(self.verb.as_str(), "list" | "watch" | "deletecollection")
            && let Some(selector) = query_value(query, "fieldSelector")
            && let Ok(selector) = field_selector::parse(&selector)
            && let Some(name) = selector.exact("metadata.name")
        {
            self.name = name.to_owned();
        }
    }

    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(&self.api_group, &self.resource)
    }

    pub fn group_version_resource(&self) -> GroupVersionResource {
        GroupVersionResource::new(&self.api_group, &self.api_version, &self.resource)
    }
}

/// Go's boolean forms, and a parameter without value counts as true (upstream `Convert_Slice_string_To_bool`:
/// everything but `false` and `0` is true).
pub fn truthy(value: &str) -> bool {
    !(value.eq_ignore_ascii_case("false") || value == "0")
}

/// The first value of a query parameter, decoded.
pub fn query_value(query: &str, name: &str) -> Option<String> {
    query_pairs(query)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

/// All parameters of a raw query, decoded, in order.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (
            percent_decode(&key.replace('+', " ")),
            percent_decode(&value.replace('+', " ")),
        )
    })
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| bytes.get(i + 1..i + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                i += 3;
            }
            None => {
                decoded.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_upstream() {
        // method, path, query → verb, group, version, namespace, resource, subresource, name
        let cases = [
            (
                "GET",
                "/api/v1/namespaces",
                "",
                "list",
                "",
                "v1",
                "",
                "namespaces",
                "",
                "",
            ),
            (
                "GET",
                "/api/v1/namespaces/other",
                "",
                "get",
                "",
                "v1",
                "other",
                "namespaces",
                "",
                "other",
            ),
            (
                "PUT",
                "/api/v1/namespaces/o/finalize",
                "",
                "update",
                "",
                "v1",
                "o",
                "namespaces",
                "finalize",
                "o",
            ),
            (
                "GET",
                "/api/v1/namespaces/other/pods",
                "",
                "list",
                "",
                "v1",
                "other",
                "pods",
                "",
                "",
            ),
            (
                "GET",
                "/api/v1/namespaces/other/pods",
                "watch=1",
                "watch",
                "",
                "v1",
                "other",
                "pods",
                "",
                "",
            ),
            (
                "GET",
                "/api/v1/namespaces/other/pods",
                "watch=false",
                "list",
                "",
                "v1",
                "other",
                "pods",
                "",
                "",
            ),
            (
                "GET",
                "/api/v1/watch/namespaces/other/pods",
                "",
                "watch",
                "",
                "v1",
                "other",
                "pods",
                "",
                "",
            ),
            (
                "GET",
                "/api/v1/watch/pods",
                "",
                "watch",
                "",
                "v1",
                "",
                "pods",
                "",
                "",
            ),
            (
                "POST",
                "/apis/apps/v1/namespaces/d/deployments",
                "",
                "create",
                "apps",
                "v1",
                "d",
                "deployments",
                "",
                "",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/d/deployments/x/scale",
                "",
                "patch",
                "apps",
                "v1",
                "d",
                "deployments",
                "scale",
                "x",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/d/pods",
                "",
                "deletecollection",
                "",
                "v1",
                "d",
                "pods",
                "",
                "",
            ),
            (
                "DELETE",
                "/api/v1/nodes/n",
                "",
                "delete",
                "",
                "v1",
                "",
                "nodes",
                "",
                "n",
            ),
            (
                "GET",
                "/api/v1/namespaces/d/pods",
                "fieldSelector=metadata.name%3Dx&watch=true",
                "watch",
                "",
                "v1",
                "d",
                "pods",
                "",
                "x",
            ),
            (
                "GET",
                "/api/v1/namespaces/d/pods/p/proxy/a/b",
                "",
                "get",
                "",
                "v1",
                "d",
                "pods",
                "proxy",
                "p",
            ),
        ];
        for (method, path, query, verb, group, version, namespace, resource, subresource, name) in cases {
            let info = RequestInfo::read(method, path, query).unwrap();
            assert!(info.is_resource_request, "{path}");
            assert_eq!(
                (
                    info.verb.as_str(),
                    info.api_group.as_str(),
                    info.api_version.as_str(),
                    info.namespace.as_str(),
                    info.resource.as_str(),
                    info.subresource.as_str(),
                    info.name.as_str()
                ),
                (verb, group, version, namespace, resource, subresource, name),
                "{method} {path}?{query}"
            );
        }
    }

    #[test]
    fn other_paths_keep_the_method_as_verb() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/healthz",
            "/openapi/v3/x/y",
        ] {
            let info = RequestInfo::read("GET", path, "").unwrap();
            assert!(!info.is_resource_request, "{path}");
            assert_eq!((info.verb.as_str(), info.path.as_str()), ("get", path));
        }
        assert!(RequestInfo::read("GET", "/api/v1/watch", "").is_err());
    }
}
