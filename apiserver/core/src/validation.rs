//! Validation: what an object must be before it is stored.
//!
//! Runs after defaulting and admission. Follows `pkg/apis/*/validation/validation.go` (1.36): the same fields, kinds
//! of error and texts. The shape (types, unknown fields) is checked earlier, by the schema.
//!
//! Where upstream lets an old object keep what newer checks refuse, this judges the new object as a whole: nothing
//! has been stored here that was checked less.

mod autoscaling;
mod batch;
mod certificates;
mod check;
mod cluster;
mod config;
mod definition;
mod endpoints;
mod extension;
mod networking;
mod pod;
mod policy;
mod rbac;
mod service;
mod storage;
#[cfg(test)]
mod tests;
mod warning;
mod workload;

use serde_json::Value;

use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

const ADMISSION: &str = "admissionregistration.k8s.io";
const DEVICES: &str = "resource.k8s.io";
const EXTENSIONS: &str = "apiextensions.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Checks a new object of a built-in resource; metadata is checked apart ([`crate::metadata::validate`]).
pub fn validate(group: &str, plural: &str, object: &Value) -> ErrorList {
    let mut errors = finalizers(group, object);
    errors.extend(match (group, plural) {
        ("", "pods") => pod::create(object),
        ("batch", "jobs") => batch::job(object),
        ("batch", "cronjobs") => batch::cron_job_create(object),
        (NETWORKING, "ingresses") => networking::ingress_create(object),
        (EXTENSIONS, "customresourcedefinitions") => definition::create(object),
        ("certificates.k8s.io", "certificatesigningrequests") => certificates::request(object),
        _ => judge(group, plural, object),
    });
    errors
}

/// What holds at creation and after any update.
fn judge(group: &str, plural: &str, object: &Value) -> ErrorList {
    match (group, plural) {
        ("", "podtemplates") => {
            let template = object.get("template").unwrap_or(&Value::Null);
            pod::template(template, &FieldPath::new("template"))
        }
        ("", "configmaps") => config::config_map(object),
        ("", "secrets") => config::secret(object),
        ("", "replicationcontrollers") => workload::replication_controller(object),
        ("", "persistentvolumes") => storage::volume(object),
        ("", "persistentvolumeclaims") => storage::claim(object),
        ("", "services") => service::service(object),
        ("", "endpoints") => endpoints::endpoints(object),
        ("", "namespaces") => cluster::namespace(object),
        ("", "nodes") => cluster::node(object),
        ("" | "events.k8s.io", "events") => cluster::event(object),
        ("", "resourcequotas") => policy::quota(object),
        ("", "limitranges") => policy::limit_range(object),
        ("apps", "deployments") => workload::deployment(object),
        ("apps", "replicasets") => workload::replica_set(object),
        ("apps", "daemonsets") => workload::daemon_set(object),
        ("apps", "statefulsets") => workload::stateful_set(object),
        ("apps", "controllerrevisions") => workload::controller_revision(object),
        ("storage.k8s.io", "storageclasses") => storage::class(object),
        ("coordination.k8s.io", "leases") => cluster::lease(object),
        ("discovery.k8s.io", "endpointslices") => endpoints::slice(object),
        ("policy", "poddisruptionbudgets") => policy::disruption_budget(object),
        ("scheduling.k8s.io", "priorityclasses") => policy::priority_class(object),
        ("autoscaling", "horizontalpodautoscalers") => autoscaling::autoscaler(object),
        (NETWORKING, "ingresses") => networking::ingress(object),
        (NETWORKING, "ingressclasses") => networking::ingress_class(object),
        (NETWORKING, "networkpolicies") => networking::network_policy(object),
        (RBAC, "roles") => rbac::role(object, true),
        (RBAC, "clusterroles") => rbac::role(object, false),
        (RBAC, "rolebindings") => rbac::binding(object, true),
        (RBAC, "clusterrolebindings") => rbac::binding(object, false),
        (ADMISSION, "mutatingwebhookconfigurations") => extension::webhooks(object, true),
        (ADMISSION, "validatingwebhookconfigurations") => extension::webhooks(object, false),
        ("node.k8s.io", "runtimeclasses") => extension::runtime_class(object),
        (EXTENSIONS, "customresourcedefinitions") => definition::definition(object),
        ("apiregistration.k8s.io", "apiservices") => definition::api_service(object),
        _ => ErrorList::new(),
    }
}

/// Checks a changed object against the old one.
pub fn validate_update(group: &str, plural: &str, new: &Value, old: &Value) -> ErrorList {
    let mut errors = finalizers(group, new);
    errors.extend(match (group, plural) {
        ("", "pods") => pod::update(new, old),
        ("", "configmaps") => config::immutable(new, old, &["data", "binaryData"]),
        ("", "secrets") => config::secret_update(new, old),
        ("", "persistentvolumes") => storage::volume_update(new, old),
        ("", "persistentvolumeclaims") => storage::claim_update(new, old),
        ("", "services") => service::update(new, old),
        ("", "nodes") => cluster::node_update(new, old),
        ("", "resourcequotas") => policy::quota_update(new, old).into_iter().collect(),
        ("apps", "deployments" | "replicasets" | "daemonsets") => kept(new, old, "spec", &["selector"]),
        ("apps", "statefulsets") => workload::stateful_set_update(new, old),
        ("apps", "controllerrevisions") => kept(new, old, "", &["data"]),
        ("batch", "jobs") => batch::job_update(new, old),
        ("batch", "cronjobs") => batch::cron_job_update(new, old),
        ("discovery.k8s.io", "endpointslices") => kept(new, old, "", &["addressType"]),
        ("certificates.k8s.io", "certificatesigningrequests") => certificates::update(new, old),
        ("scheduling.k8s.io", "priorityclasses") => policy::priority_class_update(new, old),
        (EXTENSIONS, "customresourcedefinitions") => definition::update(new, old),
        (RBAC, "rolebindings" | "clusterrolebindings") => {
            rbac::binding_update(new, old).into_iter().collect()
        }
        (NETWORKING, "ingressclasses") => kept(new, old, "spec", &["controller"]),
        ("node.k8s.io", "runtimeclasses") => kept(new, old, "", &["handler"]),
        ("storage.k8s.io", "csidrivers") => {
            kept(new, old, "spec", &["attachRequired", "volumeLifecycleModes"])
        }
        ("storage.k8s.io", "volumeattachments") | (DEVICES, "resourceclaims" | "resourceclaimtemplates") => {
            kept(new, old, "", &["spec"])
        }
        (DEVICES, "resourceslices") => kept(new, old, "spec", &["driver", "nodeName"]),
        (NETWORKING, "servicecidrs") if !gets_second_family(new, old) => kept(new, old, "spec", &["cidrs"]),
        (NETWORKING, "ipaddresses") => kept(new, old, "spec", &["parentRef"]),
        ("storage.k8s.io", "storageclasses") => storage::class_update(new, old),
        _ => ErrorList::new(),
    });
    errors.extend(judge(group, plural, new));
    errors
}

/// Checks an update of a subresource.
pub fn validate_subresource_update(
    group: &str,
    plural: &str,
    subresource: &str,
    new: &Value,
    old: &Value,
) -> ErrorList {
    match (group, plural, subresource) {
        ("", "pods", "status") => pod::status(new, old),
        ("", "pods", "ephemeralcontainers") => pod::ephemeral_containers(new, old),
        ("", "pods", "resize") => pod::resize(new, old),
        ("", "replicationcontrollers", "status") | ("apps", _, "status") => workload::status(new, old),
        ("batch", "jobs", "status") => batch::job_status(new),
        ("", "services", "status") => service::status(new),
        ("", "namespaces", "status") => cluster::namespace_status(new).into_iter().collect(),
        ("", "namespaces", "finalize") => cluster::namespace(new),
        ("", "nodes", "status") => {
            let mut errors = cluster::node_update(new, old);
            errors.extend(cluster::node(new));
            errors
        }
        ("", "resourcequotas", "status") => policy::quota_status(new),
        ("policy", "poddisruptionbudgets", "status") => policy::disruption_budget_status(new),
        ("certificates.k8s.io", "certificatesigningrequests", _) => certificates::update(new, old),
        _ => ErrorList::new(),
    }
}

/// Texts for `Warning` headers.
pub fn warnings(group: &str, plural: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    warning::of(group, plural, new, old)
}

/// The range of the other family of addresses may be added to a ServiceCIDR that has one.
fn gets_second_family(new: &Value, old: &Value) -> bool {
    let cidrs = |object| tree::list(object, &["spec", "cidrs"]);
    cidrs(old).len() == 1 && cidrs(new).len() == 2 && cidrs(new).first() == cidrs(old).first()
}

/// Fields below `holder` (the object itself when it is empty) that may not change.
fn kept(new: &Value, old: &Value, holder: &str, fields: &[&str]) -> ErrorList {
    if holder.is_empty() {
        return check::immutable(new, old, fields, &FieldPath::default());
    }
    let null = Value::Null;
    let (new, old) = (new.get(holder).unwrap_or(&null), old.get(holder).unwrap_or(&null));
    check::immutable(new, old, fields, &FieldPath::new(holder))
}

/// The finalizers that have no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
const NOT_A_FINALIZER: &str = "name is neither a standard finalizer name nor is it fully qualified";

/// Finalizers without a domain are those of Kubernetes itself (`validateKubeFinalizerName`).
fn finalizers(group: &str, object: &Value) -> ErrorList {
    // The groups that upstream checks with machinery of their own.
    if matches!(group, EXTENSIONS | "apiregistration.k8s.io" | ADMISSION) {
        return ErrorList::new();
    }
    let path = FieldPath::new("metadata.finalizers");
    let names = tree::list(object, &["metadata", "finalizers"]).iter();
    names
        .filter_map(Value::as_str)
        .enumerate()
        .filter(|(_, name)| !name.contains('/') && !STANDARD_FINALIZERS.contains(name))
        .map(|(i, name)| FieldError::invalid(&path.index(i), name, NOT_A_FINALIZER))
        .collect()
}
