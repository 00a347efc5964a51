//! The downward API: fields of the pod and resources of its containers as text.

use super::ConfigError;
use super::resources::{limited, requested};
use crate::pod_model::PodModel;
use crate::quantity::parse_quantity;
use k8s_openapi::api::core::v1::ResourceFieldSelector;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// The value of a field path. `pod_ips` and `host_ips` are given apart, because the API server may not
/// know them yet.
///
/// # Errors
/// A path that is not supported.
pub fn field_value(
    model: &PodModel,
    path: &str,
    pod_ips: &[String],
    host_ips: &[String],
) -> Result<String, ConfigError> {
    let meta = &model.pod.metadata;
    let spec = model.pod.spec.as_ref();
    let unsupported = || ConfigError::FieldPath(path.to_owned());
    if let Some((list, key)) = subscript(path) {
        let map = match list {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(unsupported()),
        };
        return Ok(map.and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => model.name.clone(),
        "metadata.namespace" => model.namespace.clone(),
        "metadata.uid" => model.uid.clone(),
        "metadata.labels" => pairs(meta.labels.as_ref()),
        "metadata.annotations" => pairs(meta.annotations.as_ref()),
        "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec
            .and_then(|s| s.service_account_name.clone())
            .unwrap_or_default(),
        "status.hostIP" => host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => host_ips.join(","),
        "status.podIP" => pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => pod_ips.join(","),
        _ => return Err(unsupported()),
    })
}

/// The value of a resource field; without a limit of its own a container has the node's allocatable.
pub(crate) fn resource_value(
    model: &PodModel,
    selector: &ResourceFieldSelector,
    default_container: &str,
    allocatable: &BTreeMap<String, Quantity>,
) -> Result<String, ConfigError> {
    let name = selector.container_name.as_deref().unwrap_or(default_container);
    let container = model.container(name).ok_or(ConfigError::NotFound {
        kind: "container",
        name: name.to_owned(),
    })?;
    let (kind, resource) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| ConfigError::Resource(selector.resource.clone()))?;
    let resources = container.spec.resources.as_ref();
    let limit = limited(resources, resource).or_else(|| allocatable.get(resource));
    let quantity = match kind {
        "limits" => limit,
        "requests" => requested(resources, resource).or_else(|| limited(resources, resource)),
        _ => return Err(ConfigError::Resource(selector.resource.clone())),
    };
    let nano = quantity.and_then(|q| parse_quantity(&q.0)).unwrap_or(0);
    let divisor = selector
        .divisor
        .as_ref()
        .and_then(|d| parse_quantity(&d.0))
        .filter(|d| *d > 0)
        .unwrap_or(1_000_000_000);
    Ok((nano.div_euclid(divisor) + i128::from(nano.rem_euclid(divisor) != 0)).to_string())
}

/// `metadata.labels['key']` → (`metadata.labels`, `key`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (list, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let key = key
        .strip_prefix('\'')
        .and_then(|k| k.strip_suffix('\''))
        .or_else(|| key.strip_prefix('"').and_then(|k| k.strip_suffix('"')))?;
    Some((list, key))
}

/// One `key="value"` a line, the value with Go's escapes (fieldpath `FormatMap`).
fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(k, v)| {
            let escaped = v
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n")
                .replace('\t', "\\t");
            format!("{k}=\"{escaped}\"")
        })
        .collect();
    lines.join("\n")
}
