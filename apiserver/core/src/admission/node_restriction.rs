//! What a node may write, once the authorizer has let it through. Follows `plugin/pkg/admission/noderestriction`.

use super::service_account::MIRROR;
use super::{Context, Operation, Request};
use crate::authorization::node_name_of;
use crate::status::ApiError;
use crate::tree;
use serde_json::Value;

/// Labels under this domain are for administrators only.
const RESTRICTED_DOMAIN: &str = "node-restriction.kubernetes.io";
const KUBERNETES_DOMAINS: [&str; 2] = ["kubernetes.io", "k8s.io"];
const OWN_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/windows-build",
];
const OWN_PREFIXES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

pub(super) fn validate(
    request: &Request<'_>,
    object: Option<&Value>,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    let Some(node) = node_name_of(request.user) else {
        return Ok(());
    };
    match (
        request.resource.gvr.group.as_str(),
        request.resource.gvr.resource.as_str(),
        request.subresource,
    ) {
        ("", "pods", "") => pod(node, request, object),
        ("", "pods", "status") => own_pod(node, request, "status update"),
        ("", "pods", "eviction") => eviction(node, request, context),
        ("", "nodes", "" | "status") => node_object(node, request, object),
        ("", "serviceaccounts", "token") => token(node, request, object, context),
        ("coordination.k8s.io", "leases", "") => named(node, request, object, "lease"),
        ("storage.k8s.io", "csinodes", "") => named(node, request, object, "CSINode"),
        _ => Ok(()),
    }
}

fn pod(node: &str, request: &Request<'_>, object: Option<&Value>) -> Result<(), ApiError> {
    match request.operation {
        Operation::Create => mirror_pod(node, request, object.unwrap_or(&Value::Null)),
        Operation::Delete => own_pod(node, request, "deletion"),
        _ => Err(request.forbidden(format!(
            "unexpected operation {:?}, node \"{node}\" can only create and delete mirror pods",
            request.operation
        ))),
    }
}

fn mirror_pod(node: &str, request: &Request<'_>, pod: &Value) -> Result<(), ApiError> {
    if tree::annotation(pod, MIRROR).is_none() {
        return Err(request.forbidden(format!(
            "pod does not have \"{MIRROR}\" annotation, node \"{node}\" can only create mirror pods"
        )));
    }
    if tree::text(pod, &["spec", "nodeName"]) != node {
        return Err(request.forbidden(format!(
            "node \"{node}\" can only create pods with spec.nodeName set to itself"
        )));
    }
    let owners = tree::list(pod, &["metadata", "ownerReferences"]);
    if owners
        .iter()
        .any(|o| tree::text(o, &["kind"]) != "Node" || tree::text(o, &["name"]) != node)
        || owners.len() > 1
    {
        return Err(request.forbidden(format!(
            "node \"{node}\" can only create pods with an owner reference set to itself"
        )));
    }
    for volume in tree::list(pod, &["spec", "volumes"]) {
        for kind in ["secret", "configMap", "persistentVolumeClaim", "projected"] {
            if volume.get(kind).is_some() {
                return Err(request.forbidden(format!(
                    "node \"{node}\" can not create pods that reference {kind}s"
                )));
            }
        }
    }
    Ok(())
}

fn own_pod(node: &str, request: &Request<'_>, what: &str) -> Result<(), ApiError> {
    match request.old {
        Some(pod) if tree::text(pod, &["spec", "nodeName"]) != node => Err(request.forbidden(format!(
            "node \"{node}\" can only request {what} of pods with spec.nodeName set to itself"
        ))),
        _ => Ok(()),
    }
}

fn eviction(node: &str, request: &Request<'_>, context: &Context<'_>) -> Result<(), ApiError> {
    let pod = context.objects.get("", "pods", request.namespace, request.name);
    match pod {
        Some(pod) if tree::text(&pod, &["spec", "nodeName"]) == node => Ok(()),
        _ => Err(request.forbidden(format!(
            "node \"{node}\" can only evict pods with spec.nodeName set to itself"
        ))),
    }
}

fn node_object(node: &str, request: &Request<'_>, object: Option<&Value>) -> Result<(), ApiError> {
    let empty = Value::Null;
    let new = object.unwrap_or(&empty);
    let name = if request.name.is_empty() {
        tree::name(new)
    } else {
        request.name
    };
    if name != node {
        return Err(request.forbidden(format!(
            "node \"{node}\" is not allowed to modify node \"{name}\""
        )));
    }
    let old = request.old.unwrap_or(&empty);
    if request.operation == Operation::Update {
        if !tree::same(
            tree::at(new, &["spec", "taints"]),
            tree::at(old, &["spec", "taints"]),
        ) {
            return Err(request.forbidden(format!("node \"{node}\" is not allowed to modify taints")));
        }
        let owners = ["metadata", "ownerReferences"];
        if !tree::same(tree::at(new, &owners), tree::at(old, &owners)) {
            return Err(request.forbidden(format!(
                "node \"{node}\" is not allowed to modify ownerReferences"
            )));
        }
    }
    let changed = changed_labels(new, old);
    let restricted: Vec<&str> = changed.into_iter().filter(|label| is_restricted(label)).collect();
    if restricted.is_empty() {
        return Ok(());
    }
    let verb = if request.operation == Operation::Create {
        "set"
    } else {
        "modify"
    };
    Err(request.forbidden(format!(
        "node \"{node}\" is not allowed to {verb} the following labels: {}",
        restricted.join(", ")
    )))
}

fn changed_labels<'a>(new: &'a Value, old: &'a Value) -> Vec<&'a str> {
    let labels = ["metadata", "labels"];
    let mut changed: Vec<&str> = tree::strings(new, &labels)
        .filter(|(key, value)| tree::label(old, key) != Some(value))
        .chain(tree::strings(old, &labels).filter(|(key, _)| tree::label(new, key).is_none()))
        .map(|(key, _)| key)
        .collect();
    changed.sort_unstable();
    changed.dedup();
    changed
}

fn is_restricted(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else {
        return false;
    };
    let within = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    if within(RESTRICTED_DOMAIN) {
        return true;
    }
    KUBERNETES_DOMAINS.into_iter().any(within)
        && !OWN_LABELS.contains(&label)
        && !OWN_PREFIXES.into_iter().any(within)
}

fn token(
    node: &str,
    request: &Request<'_>,
    object: Option<&Value>,
    context: &Context<'_>,
) -> Result<(), ApiError> {
    let bound = object
        .and_then(|o| tree::at(o, &["spec", "boundObjectRef"]))
        .unwrap_or(&Value::Null);
    if tree::text(bound, &["kind"]) != "Pod" || tree::text(bound, &["name"]).is_empty() {
        return Err(request.forbidden("node requested token not bound to a pod"));
    }
    let name = tree::text(bound, &["name"]);
    let Some(pod) = context.objects.get("", "pods", request.namespace, name) else {
        return Err(request.forbidden(format!(
            "node requested token bound to a pod that does not exist: {name}"
        )));
    };
    if tree::uid(&pod) != tree::text(bound, &["uid"]) {
        return Err(
            request.forbidden("the UID in the bound object reference does not match the UID in record")
        );
    }
    if tree::text(&pod, &["spec", "nodeName"]) != node {
        return Err(request.forbidden("node requested token bound to a pod scheduled on a different node"));
    }
    Ok(())
}

fn named(node: &str, request: &Request<'_>, object: Option<&Value>, kind: &str) -> Result<(), ApiError> {
    let name = if request.name.is_empty() {
        object.map_or("", tree::name)
    } else {
        request.name
    };
    if name == node {
        return Ok(());
    }
    Err(request.forbidden(format!(
        "can only access node {kind} with the same name as the requesting node"
    )))
}
