//! The downward API: fields of the pod and resources of its containers as text.

use super::ConfigError;
use super::resources::{limited, requested};
use crate::pod_model::PodModel;
use k8s_openapi::api::core::v1::ResourceFieldSelector;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use quantity::{milli, whole};
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

/// The value of a resource field, in multiples of its divisor, rounded up; without a limit of its own a container has
/// the node's allocatable. Follows `pkg/api/v1/resource/helpers.go`, `ExtractContainerResourceValue`.
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
    let allocatable = || allocatable.get(resource).map(|amount| amount.0.as_str());
    let limit = limited(resources, resource).or_else(allocatable);
    let amount = match kind {
        "limits" => limit,
        "requests" => requested(resources, resource).or_else(|| limited(resources, resource)),
        _ => return Err(ConfigError::Resource(selector.resource.clone())),
    };
    let unit = if resource == "cpu" { milli } else { whole };
    let divisor = selector.divisor.as_ref().map_or(0, |divisor| unit(&divisor.0));
    let divisor = if divisor > 0 { divisor } else { unit("1") };
    let amount = amount.map_or(0, unit);
    Ok((amount / divisor + i64::from(amount % divisor > 0)).to_string())
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

#[cfg(test)]
mod tests {
    use super::resource_value;
    use crate::pod_model::PodModel;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn resources_are_told_in_multiples_of_the_divisor_rounded_up() {
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": {
            "requests": {"cpu": "1200m", "memory": "64Mi"}, "limits": {"memory": "1G"}}}]}});
        let model = PodModel::new(Arc::new(serde_json::from_value(pod).expect("a pod")));
        let allocatable = BTreeMap::from([("cpu".to_owned(), Quantity("4".to_owned()))]);
        for (resource, divisor, expected) in [
            ("requests.cpu", "0", "2"),
            ("requests.cpu", "1", "2"),
            ("requests.cpu", "1m", "1200"),
            ("requests.memory", "1Ki", "65536"),
            ("requests.memory", "1G", "1"),
            ("limits.memory", "1Mi", "954"),
            ("limits.memory", "", "1000000000"),
            ("limits.cpu", "1m", "4000"),
            ("requests.ephemeral-storage", "1", "0"),
        ] {
            let selector = json!({"resource": resource, "divisor": divisor});
            let selector = serde_json::from_value(selector).expect("a selector");
            let told = resource_value(&model, &selector, "c", &allocatable).expect("a value");
            assert_eq!(told, expected, "{resource} / {divisor}");
        }
    }
}
