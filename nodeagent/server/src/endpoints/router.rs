//! Who may ask, and what for.

use super::response::{self, Response};
use super::{Endpoints, logs, port_forward, remote_command, statistics};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use k8s_openapi::List;
use k8s_openapi::api::core::v1::Pod;
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use support::tls::PeerIdentity;

/// The query's pairs in their order; names may repeat.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(n, _)| n == name);
        found.next().map(|(_, v)| v.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(n, _)| n == name);
        found.map(|(_, v)| v.clone()).collect()
    }

    /// `1`, `true` and the like; either of two names.
    pub fn flag(&self, names: &[&str]) -> bool {
        let on = |v: &str| matches!(v, "1" | "t" | "T" | "true" | "TRUE" | "True");
        names.iter().any(|name| self.get(name).is_some_and(on))
    }
}

pub(super) async fn answer(
    endpoints: Arc<Endpoints>,
    request: Request<Incoming>,
    identity: Option<&PeerIdentity>,
) -> Response {
    if let Some(refusal) = refuse(&endpoints, identity) {
        return refusal;
    }
    let path = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query());
    // Decoded after it was split: a name may not hold a slash, whatever its form.
    let decode = |part| percent_decode_str(part).decode_utf8_lossy().into_owned();
    let parts: Vec<String> = path.trim_matches('/').split('/').map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => response::text(StatusCode::OK, "ok"),
        ["pods"] => pods(&endpoints, false),
        ["runningpods"] => pods(&endpoints, true),
        ["containerLogs", namespace, pod, container] => {
            logs::answer(&endpoints, namespace, pod, container, &query).await
        }
        ["exec", namespace, pod, .., container] => {
            let target = remote_command::Target::new(namespace, pod, container, false);
            remote_command::answer(endpoints, request, &query, target).await
        }
        ["attach", namespace, pod, .., container] => {
            let target = remote_command::Target::new(namespace, pod, container, true);
            remote_command::answer(endpoints, request, &query, target).await
        }
        ["portForward", namespace, pod, ..] => port_forward::answer(endpoints, request, namespace, pod).await,
        ["stats", "summary"] => statistics::summary(&endpoints).await,
        ["metrics"] => statistics::metrics(&endpoints),
        ["metrics", "resource"] => statistics::resource_metrics(&endpoints).await,
        _ => response::not_found(format!("path {path}")),
    }
}

fn refuse(endpoints: &Endpoints, identity: Option<&PeerIdentity>) -> Option<Response> {
    let config = &endpoints.context.config;
    // Without an authority there is no identity: a simulation.
    config.ca_pem.as_ref()?;
    let Some(identity) = identity else {
        return Some(response::text(StatusCode::UNAUTHORIZED, "Unauthorized"));
    };
    let named = config.allowed_names.contains(&identity.common_name);
    let member = identity
        .organizations
        .iter()
        .any(|group| config.allowed_groups.contains(group));
    if named || member {
        return None;
    }
    let text = format!("Forbidden (user={})", identity.common_name);
    Some(response::text(StatusCode::FORBIDDEN, text))
}

fn pods(endpoints: &Endpoints, running: bool) -> Response {
    let views = endpoints.pods.views();
    let views = views
        .into_iter()
        .filter(|v| !running || v.observed.containers.iter().any(|c| c.is_running()));
    let items: Vec<Pod> = views
        .map(|view| Pod {
            status: Some(view.status),
            ..view.model.pod.as_ref().clone()
        })
        .collect();
    response::json(&List {
        items,
        ..List::default()
    })
}
