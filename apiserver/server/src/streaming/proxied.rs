//! `proxy` of pods, services and nodes: any method, any path below.

use super::Target;
use super::backend::Backend;
use super::pod::node_backend;
use crate::cache::Filter;
use crate::state::State;
use crate::verbs::fetch;
use apiserver_core::{ApiError, RequestInfo, tree};
use http::request::Parts;
use serde_json::Value;
use std::sync::Arc;

pub(super) async fn target(state: &State, info: &RequestInfo, parts: &Parts) -> Result<Target, ApiError> {
    // `scheme:name:port`, `name:port` or `name`.
    let pieces: Vec<&str> = info.name.split(':').collect();
    let (scheme, name, port) = match pieces.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => {
            return Err(ApiError::bad_request(format!(
                "invalid {} request {:?}",
                info.resource, info.name
            )));
        }
    };
    if !matches!(scheme, "" | "http") && info.resource != "nodes" {
        // Nothing tells whose certificate a pod's server should show.
        return Err(ApiError::bad_request(format!(
            "proxying by scheme {scheme:?} is not supported"
        )));
    }
    let backend = match info.resource.as_str() {
        "nodes" => node_backend(state, name).await?,
        "pods" => pod(state, &info.namespace, name, port).await?,
        _ => service(state, &info.namespace, name, port).await?,
    };
    Ok(Target {
        backend,
        path_and_query: path_below(parts, info),
    })
}

/// What follows `.../proxy` as it was sent, with the query.
fn path_below(parts: &Parts, info: &RequestInfo) -> String {
    let path = parts.uri.path();
    let own = format!("/{}/{}/proxy", info.resource, info.name);
    let below = match path.find(&own) {
        Some(at) => &path[at + own.len()..],
        // The name was sent percent-encoded.
        None => path.find("/proxy").map_or("", |at| &path[at + "/proxy".len()..]),
    };
    let below = if below.is_empty() { "/" } else { below };
    match parts.uri.query() {
        Some(query) => format!("{below}?{query}"),
        None => below.to_owned(),
    }
}

async fn pod(state: &State, namespace: &str, name: &str, port: &str) -> Result<Backend, ApiError> {
    let registry = state.registry();
    let pods = registry
        .lookup("", "v1", "pods")
        .ok_or_else(ApiError::path_not_found)?;
    let pod = fetch(state, pods, namespace, name).await?;
    let ip = tree::text(&pod, &["status", "podIP"]);
    if ip.is_empty() {
        return Err(ApiError::internal(format!("pod {name} has no address")));
    }
    let first = tree::list(&pod, &["spec", "containers"])
        .iter()
        .flat_map(|container| tree::list(container, &["ports"]))
        .find_map(|port| tree::int(port, &["containerPort"]));
    let port = if port.is_empty() {
        first.unwrap_or(80)
    } else {
        number(port)?
    };
    Backend::plain(ip, port)
}

async fn service(state: &State, namespace: &str, name: &str, port: &str) -> Result<Backend, ApiError> {
    let registry = state.registry();
    let services = registry
        .lookup("", "v1", "services")
        .ok_or_else(ApiError::path_not_found)?;
    let service = fetch(state, services, namespace, name).await?;
    let ports = tree::list(&service, &["spec", "ports"]);
    let chosen = ports.iter().find(|known| {
        (port.is_empty() && ports.len() == 1)
            || tree::text(known, &["name"]) == port
            || tree::int(known, &["port"]).is_some_and(|number| number.to_string() == port)
    });
    let chosen = chosen.ok_or_else(|| {
        ApiError::service_unavailable(format!("no service port {port:?} found for service {name:?}"))
    })?;
    let port_name = tree::text(chosen, &["name"]);
    let none = || ApiError::service_unavailable(format!("no endpoints available for service {name:?}"));
    let slices = state.filled("discovery.k8s.io", "v1", "endpointslices").await?;
    let owner = name.to_owned();
    let filter = Filter {
        namespace: Some(namespace.to_owned()),
        labels: Some(Arc::new(move |labels| {
            labels.get("kubernetes.io/service-name") == Some(&owner)
        })),
        ..Filter::default()
    };
    let mut found: Vec<(String, i64)> = Vec::new();
    for entry in slices.list(&filter).0 {
        let slice = entry.value();
        let number = tree::list(&slice, &["ports"])
            .iter()
            .find(|known| tree::text(known, &["name"]) == port_name)
            .and_then(|known| tree::int(known, &["port"]));
        let Some(number) = number else { continue };
        for endpoint in tree::list(&slice, &["endpoints"]) {
            let ready = tree::at(endpoint, &["conditions", "ready"])
                .and_then(Value::as_bool)
                .unwrap_or(true);
            if let (true, Some(address)) = (ready, tree::list(endpoint, &["addresses"]).first()) {
                found.push((address.as_str().unwrap_or_default().to_owned(), number));
            }
        }
    }
    if found.is_empty() {
        return Err(none());
    }
    let count = u64::try_from(found.len()).unwrap_or(1);
    let index = usize::try_from(state.env.random.below(0..count)).unwrap_or(0);
    let (host, port) = found.swap_remove(index);
    Backend::plain(&host, port)
}

fn number(port: &str) -> Result<i64, ApiError> {
    port.parse()
        .map_err(|_| ApiError::bad_request(format!("invalid port {port:?}")))
}
