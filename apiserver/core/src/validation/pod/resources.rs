//! Resource requests and limits, and the names of resources
//! (`validateResourceRequirements` and `pkg/apis/core/helper/helpers.go`).

use std::collections::{BTreeMap, BTreeSet};

use quantity::Quantity;
use serde_json::Value;

use super::super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{names, tree};

/// Requests and limits of a container, or the overhead of a pod.
pub(super) fn container(resources: &Value, claims: &BTreeSet<&str>, path: &FieldPath) -> ErrorList {
    requirements(resources, path, container_name)
        .into_iter()
        .chain(claim_names(resources, claims, &path.child("claims")))
        .collect()
}

/// What runs on top of the containers of a pod.
pub(super) fn overhead(amounts: &Value, path: &FieldPath) -> ErrorList {
    requirements(&serde_json::json!({"limits": amounts}), path, container_name)
}

/// Requests and limits of a pod as a whole.
pub(super) fn pod(spec: &Value, path: &FieldPath) -> ErrorList {
    let Some(resources) = tree::at(spec, &["resources"]).filter(|value| !tree::is_empty(value)) else {
        return ErrorList::new();
    };
    let path = path.child("resources");
    let mut errors = ErrorList::new();
    if !tree::list(resources, &["claims"]).is_empty() {
        let why = "claims cannot be set for Resources at pod-level";
        errors.push(FieldError::forbidden(&path.child("claims"), why));
    }
    errors.extend(requirements(resources, &path, pod_level_name));
    for (name, of_containers) in container_requests(spec) {
        let Some(of_pod) = amount(resources, "requests", &name).filter(|of_pod| of_containers > *of_pod)
        else {
            continue;
        };
        let why = format!("must be greater than or equal to aggregate container requests of {of_containers}");
        let path = path.child("requests").key(&name);
        errors.push(FieldError::invalid(&path, of_pod.to_string(), why));
    }
    for (i, container) in tree::list(spec, &["containers"]).iter().enumerate() {
        for (name, _) in tree::map(container, &["resources", "limits"])
            .into_iter()
            .flatten()
        {
            let limit = tree::at(container, &["resources"]).and_then(|value| amount(value, "limits", name));
            let (Some(limit), Some(of_pod)) = (limit, amount(resources, "limits", name)) else {
                continue;
            };
            if limit > of_pod {
                let path = path.child("containers").index(i).key(name).child("limits");
                let why = format!("must be less than or equal to pod limits of {of_pod}");
                errors.push(FieldError::invalid(&path, limit.to_string(), why));
            }
        }
    }
    errors
}

fn amount(resources: &Value, side: &str, name: &str) -> Option<Quantity> {
    tree::at(resources, &[side, name]).and_then(|value| Quantity::from_value(value).ok())
}

/// What all containers together request at the most: side by side, or while an init container runs
/// (`AggregateContainerRequests`).
fn container_requests(spec: &Value) -> BTreeMap<String, Quantity> {
    let requests = |container: &Value| -> BTreeMap<String, Quantity> {
        let map = tree::map(container, &["resources", "requests"]);
        map.into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?)))
            .collect()
    };
    let add = |sum: &mut BTreeMap<String, Quantity>, more: BTreeMap<String, Quantity>| {
        for (name, amount) in more {
            let entry = sum.entry(name).or_default();
            *entry = *entry + amount;
        }
    };
    let mut total = BTreeMap::new();
    for container in tree::list(spec, &["containers"]) {
        add(&mut total, requests(container));
    }
    let (mut sidecars, mut peak) = (BTreeMap::new(), BTreeMap::<String, Quantity>::new());
    for container in tree::list(spec, &["initContainers"]) {
        let mut during = sidecars.clone();
        add(&mut during, requests(container));
        if tree::text(container, &["restartPolicy"]) == "Always" {
            sidecars.clone_from(&during);
            add(&mut total, requests(container));
        }
        for (name, amount) in during {
            let entry = peak.entry(name).or_default();
            *entry = (*entry).max(amount);
        }
    }
    for (name, amount) in peak {
        let entry = total.entry(name).or_default();
        *entry = (*entry).max(amount);
    }
    total
}

fn requirements(
    resources: &Value,
    path: &FieldPath,
    check_name: fn(&str, &FieldPath) -> ErrorList,
) -> ErrorList {
    let mut errors = ErrorList::new();
    let (mut huge_pages, mut compute) = (false, false);
    for side in ["limits", "requests"] {
        let side_path = path.child(side);
        for (name, value) in tree::map(resources, &[side]).into_iter().flatten() {
            let key_path = side_path.key(name);
            errors.extend(check_name(name, &key_path));
            huge_pages |= is_huge_page(name);
            compute |= matches!(name.as_str(), "cpu" | "memory");
            let quantity = match check::quantity(value, &key_path) {
                Ok(quantity) => quantity,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            errors.extend(quantity_value(name, quantity, &key_path));
            if is_huge_page(name) && !is_whole_pages(name, quantity) {
                let why = format!("{quantity} is not positive integer multiple of {name}");
                errors.push(FieldError::invalid(&key_path, quantity.to_string(), why));
            }
            if side == "requests" {
                errors.extend(within_limit(resources, name, quantity, path));
            }
        }
    }
    if huge_pages && !compute {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
    errors
}

fn within_limit(resources: &Value, name: &str, request: Quantity, path: &FieldPath) -> Option<FieldError> {
    let Some(limit) = amount(resources, "limits", name) else {
        let why = "Limit must be set for non overcommitable resources";
        return (!allows_overcommit(name)).then(|| FieldError::required(&path.child("limits"), why));
    };
    let why = if request != limit && !allows_overcommit(name) {
        format!("must be equal to {name} limit of {limit}")
    } else if request > limit {
        format!("must be less than or equal to {name} limit of {limit}")
    } else {
        return None;
    };
    Some(FieldError::invalid(
        &path.child("requests"),
        request.to_string(),
        why,
    ))
}

/// Not negative, and whole where only whole ones can be counted.
fn quantity_value(name: &str, quantity: Quantity, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    if quantity.is_negative() {
        errors.push(FieldError::invalid(path, quantity.to_string(), check::NEGATIVE));
    }
    if is_counted(name) && !quantity.is_integer() {
        errors.push(FieldError::invalid(
            path,
            quantity.to_string(),
            "must be an integer",
        ));
    }
    errors
}

/// Every amount of a map, by [`quantity_value`].
pub(in super::super) fn quantities(holder: &Value, at: &[&str], path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for (name, value) in tree::map(holder, at).into_iter().flatten() {
        let path = path.key(name);
        match check::quantity(value, &path) {
            Ok(quantity) => errors.extend(quantity_value(name, quantity, &path)),
            Err(error) => errors.push(error),
        }
    }
    errors
}

fn claim_names(resources: &Value, known: &BTreeSet<&str>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (i, claim) in tree::list(resources, &["claims"]).iter().enumerate() {
        let path = path.index(i);
        let (name, request) = (tree::text(claim, &["name"]), tree::text(claim, &["request"]));
        if name.is_empty() {
            errors.push(FieldError::required(&path, ""));
            continue;
        }
        if !request.is_empty() {
            errors.extend(check::label(request, &path.child("request")));
        }
        // A claim without a request means all its requests, so it overlaps with any.
        let overlaps = |(known, part): &(&str, &str)| {
            *known == name && (part.is_empty() || request.is_empty() || *part == request)
        };
        if seen.iter().any(overlaps) {
            errors.push(FieldError::duplicate(&path, name));
        }
        seen.insert((name, request));
        if !known.contains(name) {
            let mut error = FieldError::not_found(&path, name);
            "must be one of the names in pod.spec.resourceClaims".clone_into(&mut error.detail);
            if known.is_empty() {
                error.detail.push_str(" which is empty");
            } else {
                let names: Vec<&str> = known.iter().copied().collect();
                error.detail.push_str(&format!(": {}", names.join(", ")));
            }
            errors.push(error);
        }
    }
    errors
}

/// Names without a domain that are resources.
const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

/// A name that some list of resources may have.
pub(in super::super) fn resource_name(name: &str, path: &FieldPath) -> ErrorList {
    let errors = check::qualified_name(name, path);
    if !errors.is_empty() || name.contains('/') || is_standard(name) {
        return errors;
    }
    vec![FieldError::invalid(
        path,
        name,
        "must be a standard resource type or fully qualified",
    )]
}

fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || is_huge_page(name) || name.starts_with("requests.hugepages-")
}

/// A name that containers may request.
pub(in super::super) fn container_name(name: &str, path: &FieldPath) -> ErrorList {
    let mut errors = resource_name(name, path);
    let of_containers = matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge_page(name);
    if !name.contains('/') && !of_containers {
        let why = "must be a standard resource for containers";
        errors.push(FieldError::invalid(path, name, why));
    } else if !is_native(name) && !is_extended(name) {
        let why = "doesn't follow extended resource name standard";
        errors.push(FieldError::invalid(path, name, why));
    }
    errors
}

fn pod_level_name(name: &str, path: &FieldPath) -> ErrorList {
    let mut errors = resource_name(name, path);
    if errors.is_empty() && !matches!(name, "cpu" | "memory") && !is_huge_page(name) {
        let supported = ["cpu", "hugepages-", "memory"];
        errors.push(FieldError::not_supported(path, name, &supported));
    }
    errors
}

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// More may be promised than there is.
pub(in super::super) fn allows_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// Only whole ones exist.
fn is_counted(name: &str) -> bool {
    matches!(
        name,
        "pods"
            | "resourcequotas"
            | "services"
            | "replicationcontrollers"
            | "secrets"
            | "configmaps"
            | "persistentvolumeclaims"
            | "services.nodeports"
            | "services.loadbalancers"
    ) || is_extended(name)
}

fn is_whole_pages(name: &str, quantity: Quantity) -> bool {
    let size = name
        .strip_prefix("hugepages-")
        .and_then(|size| size.parse::<Quantity>().ok());
    size.is_some_and(|size| {
        size.value() > 0 && !quantity.is_negative() && quantity.value() % size.value() == 0
    })
}
