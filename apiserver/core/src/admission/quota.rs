//! What an object counts for against a ResourceQuota. The server keeps `status.used` by optimistic writes.
//! Follows `pkg/quota/v1/evaluator/core` of Kubernetes 1.36.

use crate::resource::Resource;
use crate::tree;
use quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// Amounts by quota resource name: `pods`, `requests.cpu`, `count/deployments.apps`, `services.nodeports` …
pub type QuotaUsage = BTreeMap<String, Quantity>;

/// The usage of one object of `resource`.
pub fn quota_usage(resource: &Resource, object: &Value) -> QuotaUsage {
    let mut usage = QuotaUsage::new();
    let count_name = if resource.gvr.group.is_empty() {
        format!("count/{}", resource.gvr.resource)
    } else {
        format!("count/{}.{}", resource.gvr.resource, resource.gvr.group)
    };
    usage.insert(count_name, Quantity::from_int(1));
    match (resource.gvr.group.as_str(), resource.gvr.resource.as_str()) {
        ("", "pods") => pod(object, &mut usage),
        ("", "services") => service(object, &mut usage),
        ("", "persistentvolumeclaims") => claim(object, &mut usage),
        ("", name @ ("configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas")) => {
            usage.insert(name.to_owned(), Quantity::from_int(1));
        }
        _ => {}
    }
    usage
}

fn pod(pod: &Value, usage: &mut QuotaUsage) {
    // A finished pod only counts as an object.
    if matches!(tree::text(pod, &["status", "phase"]), "Succeeded" | "Failed") {
        return;
    }
    usage.insert("pods".to_owned(), Quantity::from_int(1));
    for (field, prefix) in [("requests", "requests."), ("limits", "limits.")] {
        for (resource, amount) in pod_amounts(pod, field) {
            if field == "requests" && matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage") {
                usage.insert(resource.clone(), amount);
            }
            usage.insert(format!("{prefix}{resource}"), amount);
        }
    }
}

/// The sum over containers, or the largest init container where that is more, plus the overhead.
fn pod_amounts(pod: &Value, field: &str) -> QuotaUsage {
    let of = |container: &Value| -> QuotaUsage {
        let map = tree::map(container, &["resources", field]).into_iter().flatten();
        map.filter_map(|(k, v)| Some((k.clone(), Quantity::from_value(v).ok()?)))
            .collect()
    };
    let mut total = QuotaUsage::new();
    for container in tree::list(pod, &["spec", "containers"]) {
        for (resource, amount) in of(container) {
            add(&mut total, resource, amount);
        }
    }
    for container in tree::list(pod, &["spec", "initContainers"]) {
        let sidecar = tree::text(container, &["restartPolicy"]) == "Always";
        for (resource, amount) in of(container) {
            if sidecar {
                add(&mut total, resource, amount);
            } else if total.get(&resource).is_none_or(|so_far| *so_far < amount) {
                total.insert(resource, amount);
            }
        }
    }
    if field == "requests" {
        for (resource, amount) in tree::map(pod, &["spec", "overhead"]).into_iter().flatten() {
            if let Ok(amount) = Quantity::from_value(amount) {
                add(&mut total, resource.clone(), amount);
            }
        }
    }
    total
}

fn service(service: &Value, usage: &mut QuotaUsage) {
    usage.insert("services".to_owned(), Quantity::from_int(1));
    let ports = i64::try_from(tree::list(service, &["spec", "ports"]).len()).unwrap_or(i64::MAX);
    match tree::text(service, &["spec", "type"]) {
        "NodePort" => {
            usage.insert("services.nodeports".to_owned(), Quantity::from_int(ports));
        }
        "LoadBalancer" => {
            let node_ports =
                tree::at(service, &["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false));
            let count = if node_ports { ports } else { 0 };
            usage.insert("services.nodeports".to_owned(), Quantity::from_int(count));
            usage.insert("services.loadbalancers".to_owned(), Quantity::from_int(1));
        }
        _ => {}
    }
}

fn claim(claim: &Value, usage: &mut QuotaUsage) {
    usage.insert("persistentvolumeclaims".to_owned(), Quantity::from_int(1));
    let class = tree::text(claim, &["spec", "storageClassName"]);
    let of_class = |what: &str| format!("{class}.storageclass.storage.k8s.io/{what}");
    if !class.is_empty() {
        usage.insert(of_class("persistentvolumeclaims"), Quantity::from_int(1));
    }
    let storage = tree::at(claim, &["spec", "resources", "requests", "storage"]);
    if let Some(amount) = storage.and_then(|s| Quantity::from_value(s).ok()) {
        if !class.is_empty() {
            usage.insert(of_class("requests.storage"), amount);
        }
        usage.insert("requests.storage".to_owned(), amount);
    }
}

fn add(total: &mut QuotaUsage, resource: String, amount: Quantity) {
    let so_far = total.remove(&resource).unwrap_or_else(|| Quantity::from_int(0));
    total.insert(resource, so_far + amount);
}
