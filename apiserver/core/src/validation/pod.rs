//! Pods and pod templates (`pkg/apis/core/validation/validation.go`, `ValidatePodSpec` and around).
//!
//! Not checked: options of Windows containers, and annotations that seccomp and AppArmor had before their fields.

mod affinity;
mod containers;
mod environment;
mod handlers;
mod mounts;
mod resources;
mod security;
#[cfg(test)]
mod tests;
mod update;
mod volumes;

use std::collections::BTreeSet;

use serde_json::Value;

use self::containers::{Surroundings, image_padding};
use super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{metadata, tree};

pub(super) use affinity::{node_selector, taint_effect};
pub(super) use resources::{allows_overcommit, container_name, quantities, resource_name};
pub(super) use update::{ephemeral_containers, resize, status, update};
pub(super) use volumes::plain_source;

/// A new pod.
pub(super) fn create(pod: &Value) -> ErrorList {
    let mut errors = any(pod);
    let spec = FieldPath::new("spec");
    if !tree::list(pod, &["spec", "ephemeralContainers"]).is_empty() {
        let path = spec.child("ephemeralContainers");
        errors.push(FieldError::forbidden(&path, "cannot be set on create"));
    }
    let gates = tree::list(pod, &["spec", "schedulingGates"]);
    if !gates.is_empty() && !tree::text(pod, &["spec", "nodeName"]).is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(&spec.child("nodeName"), why));
    }
    errors
}

/// What holds for a pod at any time.
fn any(pod: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let mut errors = annotations(pod, spec, &FieldPath::new("metadata.annotations"));
    errors.extend(pod_spec(spec, Some(tree::name(pod)), &path));
    if tree::text(spec, &["serviceAccountName"]).is_empty() {
        for (i, volume) in tree::list(spec, &["volumes"]).iter().enumerate() {
            let path = path.child("volumes").index(i).child("projected").child("sources");
            for (j, source) in tree::list(volume, &["projected", "sources"]).iter().enumerate() {
                if tree::at(source, &["serviceAccountToken"]).is_some() {
                    let path = path.index(j).child("serviceAccountToken");
                    let why = "must not be specified when serviceAccountName is not set";
                    errors.push(FieldError::forbidden(&path, why));
                }
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for (i, container) in tree::list(spec, &[list]).iter().enumerate() {
            errors.extend(image_padding(container, &path.child(list).index(i)));
        }
    }
    errors
}

/// The template at `path` of a workload.
pub(super) fn template(template: &Value, path: &FieldPath) -> ErrorList {
    let spec = template.get("spec").unwrap_or(&Value::Null);
    let mut errors = template_metadata(template, path);
    errors.extend(annotations(template, spec, &path.child("annotations")));
    errors.extend(pod_spec(spec, None, &path.child("spec")));
    if !tree::list(spec, &["ephemeralContainers"]).is_empty() {
        let path = path.child("spec").child("ephemeralContainers");
        let why = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(&path, why));
    }
    errors
}

/// Labels and annotations of a template. Upstream names them without `metadata`.
fn template_metadata(template: &Value, path: &FieldPath) -> ErrorList {
    let (labels, annotations) = (["metadata", "labels"], ["metadata", "annotations"]);
    let mut errors = metadata::validate_labels(template, &labels, &path.child("labels"));
    let annotations = metadata::validate_annotations(template, &annotations, &path.child("annotations"));
    errors.extend(annotations);
    errors
}

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const MIRROR: &str = "kubernetes.io/config.mirror";

fn annotations(holder: &Value, spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(value) = tree::annotation(holder, MIRROR)
        && tree::text(spec, &["nodeName"]).is_empty()
    {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(FieldError::invalid(&path.key(MIRROR), value, why));
    }
    if let Some(cost) = tree::annotation(holder, DELETION_COST) {
        let digits = cost.strip_prefix('-').unwrap_or(cost);
        let canonical = cost == "0" || !digits.starts_with(['0', '+']);
        if !canonical || cost.parse::<i32>().is_err() {
            let why = "must be a 32bit integer";
            errors.push(FieldError::invalid(&path.key(DELETION_COST), cost, why));
        }
    }
    errors
}

/// `pod`: the name of a real pod, which is not known of a template.
fn pod_spec(spec: &Value, pod: Option<&str>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    if tree::int(spec, &["terminationGracePeriodSeconds"]).is_none() {
        errors.push(FieldError::required(
            &path.child("terminationGracePeriodSeconds"),
            "",
        ));
    }
    let (volumes, problems) = volumes::all(spec, pod, path);
    errors.extend(problems);
    let claims: BTreeSet<&str> = tree::list(spec, &["resourceClaims"])
        .iter()
        .map(|claim| tree::text(claim, &["name"]))
        .filter(|name| !name.is_empty())
        .collect();
    errors.extend(resource_claims(spec, path));
    let around = Surroundings {
        spec,
        volumes,
        claims,
    };
    errors.extend(containers::all(&around, path));
    errors.extend(resources::pod(spec, path));
    errors.extend(host_network_ports(spec, pod.is_some(), path));
    let policies = ["Always", "OnFailure", "Never"];
    errors.extend(check::one_of(spec, "restartPolicy", path, &policies));
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.extend(check::one_of(spec, "dnsPolicy", path, &policies));
    errors.extend(metadata::validate_labels(
        spec,
        &["nodeSelector"],
        &path.child("nodeSelector"),
    ));
    errors.extend(security::pod(spec, path));
    errors.extend(affinity::affinity(spec, path));
    errors.extend(dns_config(spec, &path.child("dnsConfig")));
    for (i, gate) in tree::list(spec, &["readinessGates"]).iter().enumerate() {
        let path = path.child("readinessGates").index(i).child("conditionType");
        errors.extend(check::qualified_name(tree::text(gate, &["conditionType"]), &path));
    }
    errors.extend(scheduling_gates(spec, path));
    errors.extend(affinity::spread(spec, path));
    errors.extend(single_fields(spec, path));
    errors.extend(affinity::tolerations(spec, path));
    errors.extend(host_aliases(spec, path));
    if let Some(amounts) = tree::at(spec, &["overhead"]) {
        errors.extend(resources::overhead(amounts, &path.child("overhead")));
    }
    errors
}

/// Fields that are checked on their own.
fn single_fields(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    type Check = fn(&str, &FieldPath) -> ErrorList;
    let names: [(&str, Check); 7] = [
        ("serviceAccountName", check::subdomain),
        ("nodeName", check::subdomain),
        ("hostname", check::label),
        ("hostnameOverride", check::subdomain),
        ("subdomain", check::label),
        ("priorityClassName", check::subdomain),
        ("runtimeClassName", check::subdomain),
    ];
    for (field, check) in names {
        let name = tree::text(spec, &[field]);
        if !name.is_empty() {
            errors.extend(check(name, &path.child(field)));
        }
    }
    if let Some(seconds) = tree::int(spec, &["activeDeadlineSeconds"])
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(
            &path.child("activeDeadlineSeconds"),
            seconds,
            why,
        ));
    }
    let policies = ["PreemptLowerPriority", "Never"];
    errors.extend(check::optional_one_of(spec, "preemptionPolicy", path, &policies));
    if let Some(os) = tree::at(spec, &["os"]) {
        match tree::text(os, &["name"]) {
            "" => errors.push(FieldError::required(
                &path.child("os").child("name"),
                "cannot be empty",
            )),
            "linux" | "windows" => {}
            name => errors.push(FieldError::not_supported(
                &path.child("os"),
                name,
                &["linux", "windows"],
            )),
        }
    }
    errors
}

fn resource_claims(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut names = BTreeSet::new();
    for (i, claim) in tree::list(spec, &["resourceClaims"]).iter().enumerate() {
        let path = path.child("resourceClaims").index(i);
        let name = tree::text(claim, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else if names.insert(name) {
            errors.extend(check::label(name, &path.child("name")));
        } else {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        let set: Vec<&str> = sources
            .into_iter()
            .filter(|field| tree::at(claim, &[field]).is_some())
            .collect();
        let why = match set.len() {
            0 => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            1 => None,
            _ => Some("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"),
        };
        errors.extend(why.map(|why| FieldError::invalid(&path, claim.clone(), why)));
        for field in set {
            errors.extend(check::subdomain(tree::text(claim, &[field]), &path.child(field)));
        }
    }
    errors
}

/// On the network of the host, ports are the host's. Templates may leave them out: pods get them by default.
fn host_network_ports(spec: &Value, is_pod: bool, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    if !tree::flag(spec, &["hostNetwork"]) {
        return errors;
    }
    for (i, container) in tree::list(spec, &["containers"]).iter().enumerate() {
        let path = path.child("containers").index(i).child("ports");
        for (j, port) in tree::list(container, &["ports"]).iter().enumerate() {
            let host = tree::int(port, &["hostPort"]).unwrap_or(0);
            let differs = host != tree::int(port, &["containerPort"]).unwrap_or(0);
            if differs && (is_pod || host != 0) {
                let why = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(&path.index(j).child("hostPort"), host, why));
            }
        }
    }
    errors
}

/// What name resolution in libc takes.
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;

fn dns_config(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let config = tree::at(spec, &["dnsConfig"]);
    let servers = tree::list(spec, &["dnsConfig", "nameservers"]);
    if tree::text(spec, &["dnsPolicy"]) == "None" {
        if config.is_none() {
            let why = "must provide `dnsConfig` when `dnsPolicy` is None";
            return vec![FieldError::required(path, why)];
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return vec![FieldError::required(&path.child("nameservers"), why)];
        }
    }
    let server_path = path.child("nameservers");
    if servers.len() > MAX_NAMESERVERS {
        let why = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        errors.push(FieldError::invalid(&server_path, servers.to_vec(), why));
    }
    for (i, server) in servers.iter().filter_map(Value::as_str).enumerate() {
        errors.extend(check::ip(server, &server_path.index(i)));
    }
    let searches = tree::list(spec, &["dnsConfig", "searches"]);
    let search_path = path.child("searches");
    if searches.len() > MAX_SEARCHES {
        let why = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.push(FieldError::invalid(&search_path, searches.to_vec(), why));
    }
    let texts: Vec<&str> = searches.iter().filter_map(Value::as_str).collect();
    if texts.join(" ").len() > MAX_SEARCH_CHARS {
        let why = format!(
            "must not have more than {MAX_SEARCH_CHARS} characters (including spaces) in the search list"
        );
        errors.push(FieldError::invalid(&search_path, searches.to_vec(), why));
    }
    for (i, search) in texts.iter().enumerate().filter(|(_, search)| **search != ".") {
        // Underscores are allowed here.
        let search = search.strip_suffix('.').unwrap_or(search);
        let reasons = crate::names::dns1123_subdomain(&search.replace('_', "a"), false);
        errors.extend(check::invalid(&search_path.index(i), search, reasons));
    }
    for (i, option) in tree::list(spec, &["dnsConfig", "options"]).iter().enumerate() {
        if tree::text(option, &["name"]).is_empty() {
            let path = path.child("options").index(i);
            errors.push(FieldError::required(&path, "must not be empty"));
        }
    }
    errors
}

fn scheduling_gates(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut seen = BTreeSet::new();
    for (i, gate) in tree::list(spec, &["schedulingGates"]).iter().enumerate() {
        let path = path.child("schedulingGates").index(i);
        let name = tree::text(gate, &["name"]);
        errors.extend(check::qualified_name(name, &path));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&path, name));
        }
    }
    errors
}

fn host_aliases(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, alias) in tree::list(spec, &["hostAliases"]).iter().enumerate() {
        let path = path.child("hostAliases").index(i);
        errors.extend(check::ip(tree::text(alias, &["ip"]), &path.child("ip")));
        let names = tree::list(alias, &["hostnames"]).iter();
        for (j, name) in names.filter_map(Value::as_str).enumerate() {
            errors.extend(check::subdomain(name, &path.child("hostnames").index(j)));
        }
    }
    errors
}
