//! What an update of a pod may change, by way of the pod itself and of its subresources (`ValidatePodUpdate`,
//! `ValidatePodStatusUpdate`, `ValidatePodEphemeralContainersUpdate`, `ValidatePodResize`).

use serde_json::{Value, json};

use super::super::check;
use super::{MIRROR, affinity, any};
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::strategy::qos_class;
use crate::tree;

const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
                          `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                          `spec.tolerations` (only additions to existing tolerations),\
                          `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// An update of the pod itself.
pub(in super::super) fn update(new: &Value, old: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let mut errors = any(new);
    errors.extend(mirror_annotation(new, old));
    let null = Value::Null;
    let (new_spec, old_spec) = (new.get("spec").unwrap_or(&null), old.get("spec").unwrap_or(&null));
    for list in ["containers", "initContainers"] {
        if tree::list(new_spec, &[list]).len() != tree::list(old_spec, &[list]).len() {
            let why = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(&path.child(list), why));
            return errors;
        }
    }
    match deadline(new_spec, old_spec, &path) {
        Some((error, true)) => {
            errors.push(error);
            return errors;
        }
        other => errors.extend(other.map(|(error, _)| error)),
    }
    errors.extend(only_added_tolerations(
        new_spec,
        old_spec,
        &path.child("tolerations"),
    ));
    errors.extend(only_removed_gates(
        new_spec,
        old_spec,
        &path.child("schedulingGates"),
    ));
    let mut munged = new_spec.clone();
    for list in ["containers", "initContainers"] {
        let before = tree::list(old_spec, &[list]);
        for (container, before) in tree::list_mut(&mut munged, &[list]).iter_mut().zip(before) {
            tree::restore(container, before, &["image"]);
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        tree::restore(&mut munged, old_spec, &[field]);
    }
    let grace = ["terminationGracePeriodSeconds"];
    if tree::int(old_spec, &grace).is_some_and(|n| n < 0) && tree::int(&munged, &grace) == Some(1) {
        tree::restore(&mut munged, old_spec, &grace);
    }
    if !tree::list(old_spec, &["schedulingGates"]).is_empty() {
        errors.extend(gated_changes(&mut munged, old_spec, &path));
    }
    if !tree::same(Some(&munged), Some(old_spec)) {
        let changes = check::differences(old_spec, &munged, &path);
        errors.push(FieldError::forbidden(&path, format!("{MAY_CHANGE}\n{changes}")));
    }
    errors
}

fn mirror_annotation(new: &Value, old: &Value) -> Option<FieldError> {
    let path = FieldPath::new("metadata.annotations").key(MIRROR);
    match (tree::annotation(new, MIRROR), tree::annotation(old, MIRROR)) {
        (now, before) if now == before => None,
        (_, None) => Some(FieldError::forbidden(&path, "may not add mirror pod annotation")),
        _ => Some(FieldError::forbidden(
            &path,
            "may not remove or update mirror pod annotation",
        )),
    }
}

/// A deadline may be set and brought forward. The flag: nothing else needs to be looked at.
fn deadline(new: &Value, old: &Value, path: &FieldPath) -> Option<(FieldError, bool)> {
    let field = ["activeDeadlineSeconds"];
    let path = path.child(field[0]);
    match (tree::int(new, &field), tree::int(old, &field)) {
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            Some((FieldError::invalid(&path, Value::Null, why), false))
        }
        (Some(now), _) if !(0..=i64::from(i32::MAX)).contains(&now) => {
            let why = "must be between 0 and 2147483647, inclusive";
            Some((FieldError::invalid(&path, now, why), true))
        }
        (Some(now), Some(before)) if before < now => {
            let why = "must be less than or equal to previous value";
            Some((FieldError::invalid(&path, now, why), true))
        }
        _ => None,
    }
}

fn only_added_tolerations(new: &Value, old: &Value, path: &FieldPath) -> Option<FieldError> {
    let without_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        tree::remove(&mut toleration, &["tolerationSeconds"]);
        toleration
    };
    let now: Vec<Value> = tree::list(new, &["tolerations"])
        .iter()
        .map(without_seconds)
        .collect();
    let kept = |before: &Value| {
        let before = without_seconds(before);
        now.iter().any(|now| tree::same(Some(now), Some(&before)))
    };
    let why = "existing toleration can not be modified except its tolerationSeconds";
    (!tree::list(old, &["tolerations"]).iter().all(kept)).then(|| FieldError::forbidden(path, why))
}

fn only_removed_gates(new: &Value, old: &Value, path: &FieldPath) -> ErrorList {
    let name = |gate: &Value| tree::text(gate, &["name"]).to_owned();
    let before: Vec<String> = tree::list(old, &["schedulingGates"]).iter().map(name).collect();
    let gates = tree::list(new, &["schedulingGates"]).iter().enumerate();
    gates
        .map(|(i, gate)| (i, name(gate)))
        .filter(|(_, name)| !before.contains(name))
        .map(|(i, name)| {
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            FieldError::forbidden(&path.index(i).child("name"), why)
        })
        .collect()
}

/// While gates hold a pod, where it may run may be narrowed. What was allowed is put back in `munged`.
fn gated_changes(munged: &mut Value, old: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let selector = ["nodeSelector"];
    let narrowed =
        tree::strings(old, &selector).all(|(key, value)| tree::text(munged, &["nodeSelector", key]) == value);
    if !narrowed {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        let now = tree::at(munged, &selector).cloned().unwrap_or_default();
        errors.push(FieldError::invalid(&path.child("nodeSelector"), now, why));
    }
    tree::restore(munged, old, &selector);
    let affinity = ["affinity", "nodeAffinity"];
    if tree::same(tree::at(munged, &affinity), tree::at(old, &affinity)) {
        return errors;
    }
    errors.extend(affinity::narrowed(
        tree::at(munged, &affinity),
        tree::at(old, &affinity),
        &path.child("affinity").child("nodeAffinity"),
    ));
    tree::restore(munged, old, &affinity);
    if tree::at(munged, &["affinity"]).is_some_and(tree::is_empty) {
        tree::remove(munged, &["affinity"]);
    }
    errors
}

/// An update of `status`.
pub(in super::super) fn status(new: &Value, old: &Value) -> ErrorList {
    let mut errors: ErrorList = mirror_annotation(new, old).into_iter().collect();
    let path = FieldPath::new("status");
    for (i, condition) in tree::list(new, &["status", "conditions"]).iter().enumerate() {
        let path = FieldPath::new("metadata.conditions").index(i).child("Type");
        errors.extend(check::qualified_name(tree::text(condition, &["type"]), &path));
    }
    let nominated = tree::text(new, &["status", "nominatedNodeName"]);
    if !nominated.is_empty() && nominated != tree::text(old, &["status", "nominatedNodeName"]) {
        errors.extend(check::subdomain(nominated, &path.child("nominatedNodeName")));
    }
    for list in [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ] {
        errors.extend(state_transitions(new, old, list, &path.child(list)));
    }
    for (list, single) in [("podIPs", "podIP"), ("hostIPs", "hostIP")] {
        errors.extend(addresses(new, list, single, &path.child(list)));
    }
    errors
}

/// A container that ended and is not to be restarted stays ended.
fn state_transitions(new: &Value, old: &Value, list: &str, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let now = tree::list(new, &["status", list]);
    let ended = |status: &Value| tree::at(status, &["state", "terminated"]).is_some();
    for (i, before) in tree::list(old, &["status", list]).iter().enumerate() {
        let name = tree::text(before, &["name"]);
        let code = tree::int(before, &["state", "terminated", "exitCode"]).unwrap_or(0);
        if !ended(before) || may_restart(old, list, name, code) {
            continue;
        }
        if now
            .iter()
            .any(|status| tree::text(status, &["name"]) == name && !ended(status))
        {
            let why = "may not be transitioned to non-terminated state";
            errors.push(FieldError::forbidden(&path.index(i).child("state"), why));
        }
    }
    errors
}

fn may_restart(pod: &Value, list: &str, name: &str, code: i64) -> bool {
    let policy = match list {
        "ephemeralContainerStatuses" => return false,
        _ => tree::text(pod, &["spec", "restartPolicy"]),
    };
    let all = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| tree::list(pod, &["spec", list]));
    // A rule of any container may restart all of them.
    let restarts_all = all.clone().any(|container| {
        tree::list(container, &["restartPolicyRules"])
            .iter()
            .any(|rule| tree::text(rule, &["action"]) == "RestartAllContainers")
    });
    let own = all
        .into_iter()
        .find(|container| tree::text(container, &["name"]) == name);
    let own_policy = own.map_or("", |container| tree::text(container, &["restartPolicy"]));
    let has_rules = own.is_some_and(|container| !tree::list(container, &["restartPolicyRules"]).is_empty());
    let policy = if own_policy.is_empty() { policy } else { own_policy };
    restarts_all || has_rules || policy == "Always" || (policy == "OnFailure" && code != 0)
}

fn addresses(pod: &Value, list: &str, single: &str, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let addresses: Vec<&str> = tree::list(pod, &["status", list])
        .iter()
        .map(|address| tree::text(address, &["ip"]))
        .collect();
    if let Some(first) = addresses.first().filter(|_| list == "hostIPs")
        && *first != tree::text(pod, &["status", single])
    {
        let path = path.index(0).child("ip");
        errors.push(FieldError::invalid(&path, *first, "must be equal to `hostIP`"));
    }
    for (i, address) in addresses.iter().enumerate() {
        errors.extend(check::ip(address, &path.index(i)));
        if addresses[..i].contains(address) {
            errors.push(FieldError::duplicate(&path.index(i), json!({"ip": address})));
        }
    }
    let sixes = addresses.iter().filter(|address| address.contains(':')).count();
    if addresses.len() > 2 || (addresses.len() == 2 && sixes != 1) {
        let why = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(path, json!(addresses), why));
    }
    errors
}

/// An update of `ephemeralcontainers`: they may only be added.
pub(in super::super) fn ephemeral_containers(new: &Value, old: &Value) -> ErrorList {
    if tree::annotation(old, MIRROR).is_some() {
        let why = "static pods do not support ephemeral containers";
        return vec![FieldError::forbidden(&FieldPath::default(), why)];
    }
    let mut errors = any(new);
    let path = FieldPath::new("spec.ephemeralContainers");
    let now = tree::list(new, &["spec", "ephemeralContainers"]);
    for before in tree::list(old, &["spec", "ephemeralContainers"]) {
        let name = tree::text(before, &["name"]);
        let why = match now
            .iter()
            .find(|container| tree::text(container, &["name"]) == name)
        {
            None => format!("existing ephemeral containers \"{name}\" may not be removed\n"),
            Some(now) if !tree::same(Some(now), Some(before)) => {
                let changes = check::differences(before, now, &FieldPath::new(name));
                format!("existing ephemeral containers \"{name}\" may not be changed\n{changes}")
            }
            Some(_) => continue,
        };
        errors.push(FieldError::forbidden(&path, why));
    }
    errors
}

/// An update of `resize`: cpu and memory of containers and sidecars.
pub(in super::super) fn resize(new: &Value, old: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let refusal = if tree::annotation(old, MIRROR).is_some() {
        Some("static pods cannot be resized")
    } else if tree::text(old, &["spec", "os", "name"]) == "windows" {
        Some("windows pods cannot be resized")
    } else {
        None
    };
    if let Some(why) = refusal {
        return vec![FieldError::forbidden(&FieldPath::default(), why)];
    }
    let mut errors = any(new);
    if qos_class(new) != qos_class(old) {
        let class = tree::text(new, &["status", "qosClass"]);
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid(&path, class, why));
    }
    for list in ["initContainers", "containers"] {
        let containers = tree::list(new, &["spec", list])
            .iter()
            .zip(tree::list(old, &["spec", list]));
        for (i, (now, before)) in containers.enumerate() {
            let sidecar = tree::text(before, &["restartPolicy"]) == "Always";
            if list == "initContainers" && !sidecar {
                if !tree::same(Some(now), Some(before)) {
                    let why = "resources for non-sidecar init containers are immutable";
                    errors.push(FieldError::forbidden(&path, why));
                }
                continue;
            }
            let at = path.child(list).index(i).child("resources");
            errors.extend(container_resize(now, before, &at));
            let mut munged = now.clone();
            for side in ["requests", "limits"] {
                for name in ["cpu", "memory"] {
                    tree::restore(&mut munged, before, &["resources", side, name]);
                }
            }
            tree::restore(&mut munged, before, &["resizePolicy"]);
            let same = |field| tree::same(munged.get(field), before.get(field));
            if !same("resources") {
                let why = if list == "containers" {
                    "only cpu and memory resources are mutable"
                } else {
                    "only cpu and memory resources for sidecar containers are mutable"
                };
                errors.push(FieldError::forbidden(&path, why));
            }
        }
    }
    errors
}

fn container_resize(now: &Value, before: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for side in ["requests", "limits"] {
        let mut names = tree::map(before, &["resources", side])
            .into_iter()
            .flat_map(|map| map.keys());
        if names.any(|name| tree::at(now, &["resources", side, name]).is_none()) {
            let why = format!("resource {side} cannot be removed");
            errors.push(FieldError::forbidden(&path.child(side), why));
        }
    }
    errors
}
