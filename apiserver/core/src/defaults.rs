//! Defaulting: what the server fills in where the user said nothing.
//!
//! Follows `pkg/apis/*/*/defaults.go` (1.36). Each function is idempotent: objects read from the store pass
//! through again, so that a default added by a newer release appears on old objects.

mod batch;
mod extension;
mod networking;
mod pod;
mod service;
mod storage;
mod workload;

use quantity::Quantity;
use serde_json::{Value, json};

use crate::tree;

pub use pod::pod_spec;

/// Fills in the defaults of a built-in resource.
pub fn apply(group: &str, plural: &str, object: &mut Value) {
    match (group, plural) {
        ("", "pods") => pod::pod(object),
        ("", "podtemplates") => pod::template(object, &["template"]),
        ("", "replicationcontrollers") => workload::replication_controller(object),
        ("", "services") => service::service(object),
        ("", "endpoints") => service::endpoints(object),
        ("", "secrets") => secret(object),
        ("", "namespaces") => namespace(object),
        ("", "nodes") => node(object),
        ("", "persistentvolumes") => storage::volume(object),
        ("", "persistentvolumeclaims") => storage::claim(object),
        ("", "limitranges") => limit_range(object),
        ("", "resourcequotas") => {
            for side in [["spec", "hard"], ["status", "hard"], ["status", "used"]] {
                canonical_quantities(object, &side);
            }
        }
        ("apps", "deployments") => workload::deployment(object),
        ("apps", "replicasets") => workload::replica_set(object),
        ("apps", "statefulsets") => workload::stateful_set(object),
        ("apps", "daemonsets") => workload::daemon_set(object),
        ("batch", "jobs") => batch::job(object),
        ("batch", "cronjobs") => batch::cron_job(object),
        ("autoscaling", "horizontalpodautoscalers") => workload::autoscaler(object),
        ("discovery.k8s.io", "endpointslices") => service::endpoint_slice(object),
        ("networking.k8s.io", "networkpolicies") => networking::network_policy(object),
        ("networking.k8s.io", "ingressclasses") => networking::ingress_class(object),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => role_binding(object),
        ("scheduling.k8s.io", "priorityclasses") => {
            tree::set_default_text(object, "preemptionPolicy", "PreemptLowerPriority");
        }
        ("storage.k8s.io", "storageclasses") => storage::class(object),
        ("storage.k8s.io", "csidrivers") => storage::csi_driver(object),
        ("admissionregistration.k8s.io", _) => extension::admission(plural, object),
        ("apiextensions.k8s.io", "customresourcedefinitions") => extension::definition(object),
        ("apiregistration.k8s.io", "apiservices") => extension::api_service(object),
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => extension::flow_schema(object),
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => extension::priority_level(object),
        _ => {}
    }
}

/// Rewrites every quantity of a map in its canonical form (`0.5` → `500m`); what is none stays, for validation.
fn canonical_quantities(object: &mut Value, path: &[&str]) {
    let Some(map) = tree::at_mut(object, path).and_then(Value::as_object_mut) else {
        return;
    };
    for value in map.values_mut() {
        canonical_quantity(value);
    }
}

fn canonical_quantity(value: &mut Value) {
    if let Ok(quantity) = Quantity::from_value(value) {
        *value = json!(quantity.to_string());
    }
}

/// `stringData` is write-only: it goes into `data`, encoded.
fn secret(object: &mut Value) {
    use base64::Engine;
    tree::set_default_text(object, "type", "Opaque");
    let Some(Value::Object(texts)) = tree::remove(object, &["stringData"]) else {
        return;
    };
    if texts.is_empty() {
        return;
    }
    let data = tree::ensure_map(object, &["data"]);
    for (key, text) in texts {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or(""));
        data.insert(key, json!(encoded));
    }
}

fn namespace(object: &mut Value) {
    let name = tree::name(object).to_owned();
    if !name.is_empty() {
        let labels = tree::ensure_map(object, &["metadata", "labels"]);
        labels
            .entry("kubernetes.io/metadata.name")
            .or_insert_with(|| json!(name));
    }
}

fn node(object: &mut Value) {
    canonical_quantities(object, &["status", "capacity"]);
    canonical_quantities(object, &["status", "allocatable"]);
    if tree::at(object, &["status", "allocatable"]).is_none()
        && let Some(capacity) = tree::at(object, &["status", "capacity"]).cloned()
    {
        tree::set(object, &["status", "allocatable"], capacity);
    }
}

/// `SetDefaults_LimitRangeItem`: a container's default limit is its maximum, its default request its default limit
/// and else its minimum.
fn limit_range(object: &mut Value) {
    for item in tree::list_mut(object, &["spec", "limits"]) {
        for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            canonical_quantities(item, &[field]);
        }
        if tree::text(item, &["type"]) != "Container" {
            continue;
        }
        for (to, from) in [
            ("default", "max"),
            ("defaultRequest", "default"),
            ("defaultRequest", "min"),
        ] {
            let source = tree::map(item, &[from]).cloned().unwrap_or_default();
            if source.is_empty() {
                continue;
            }
            let target = tree::ensure_map(item, &[to]);
            for (name, amount) in source {
                target.entry(name).or_insert(amount);
            }
        }
    }
}

fn role_binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = tree::at_mut(object, &["roleRef"]) {
        tree::set_default_text(role, "apiGroup", GROUP);
    }
    for subject in tree::list_mut(object, &["subjects"]) {
        if matches!(tree::text(subject, &["kind"]), "User" | "Group") {
            tree::set_default_text(subject, "apiGroup", GROUP);
        }
    }
}

#[cfg(test)]
mod tests;
