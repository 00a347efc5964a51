//! Namespaces, nodes, events and leases (`pkg/apis/core/validation`, `pkg/apis/coordination/validation`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::{check, pod};
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{names, tree};

/// What holds a namespace: names with a domain, or `kubernetes` itself.
pub(super) fn namespace(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = FieldPath::new("spec.finalizers");
    let finalizers = tree::list(object, &["spec", "finalizers"]).iter();
    for (i, name) in finalizers.filter_map(Value::as_str).enumerate() {
        let path = path.index(i);
        errors.extend(check::qualified_name(name, &path));
        if !name.contains('/') && !super::STANDARD_FINALIZERS.contains(&name) {
            errors.push(FieldError::invalid(&path, name, super::NOT_A_FINALIZER));
        }
    }
    errors
}

pub(super) fn namespace_status(object: &Value) -> Option<FieldError> {
    let phase = tree::text(object, &["status", "phase"]);
    let (wanted, when) = match tree::at(object, &["metadata", "deletionTimestamp"]) {
        None => ("Active", "empty"),
        Some(_) => ("Terminating", "not empty"),
    };
    let why = format!("may only be '{wanted}' if `deletionTimestamp` is {when}");
    (phase != wanted).then(|| FieldError::invalid(&FieldPath::new("status.Phase"), phase, why))
}

pub(super) fn node(object: &Value) -> ErrorList {
    let mut errors = taints(object);
    for side in ["capacity", "allocatable"] {
        let path = FieldPath::new("status").child(side);
        errors.extend(pod::quantities(object, &["status", side], &path));
    }
    let path = FieldPath::new("spec.podCIDRs");
    let ranges: Vec<&str> = tree::list(object, &["spec", "podCIDRs"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (i, range) in ranges.iter().enumerate() {
        errors.extend(check::cidr(range, &path.index(i)));
        if ranges[..i].contains(range) {
            errors.push(FieldError::duplicate(&path.index(i), *range));
        }
    }
    let sixes = ranges.iter().filter(|range| range.contains(':')).count();
    if ranges.len() > 2 || (ranges.len() == 2 && sixes != 1) {
        let why = "may specify no more than one CIDR for each IP family";
        errors.push(FieldError::invalid(&path, serde_json::json!(ranges), why));
    }
    errors
}

/// Upstream names taints as if they were part of the metadata.
fn taints(node: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut seen = BTreeSet::new();
    for (i, taint) in tree::list(node, &["spec", "taints"]).iter().enumerate() {
        let path = FieldPath::new("metadata.taints").index(i);
        let (key, value) = (tree::text(taint, &["key"]), tree::text(taint, &["value"]));
        errors.extend(check::qualified_name(key, &path.child("key")));
        let reasons = names::label_value(value);
        if !reasons.is_empty() {
            errors.push(FieldError::invalid(
                &path.child("value"),
                value,
                reasons.join(";"),
            ));
        }
        errors.extend(pod::taint_effect(taint, &path));
        if !seen.insert((key, tree::text(taint, &["effect"]))) {
            let mut error = FieldError::duplicate(&path, taint.clone());
            "taints must be unique by key and effect pair".clone_into(&mut error.detail);
            errors.push(error);
        }
    }
    errors
}

pub(super) fn node_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let addresses = tree::list(new, &["status", "addresses"]);
    for (i, address) in addresses.iter().enumerate() {
        if addresses[..i].contains(address) {
            let path = FieldPath::new("status.addresses").index(i);
            errors.push(FieldError::duplicate(&path, address.clone()));
        }
    }
    for (field, shown) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let (now, before) = (tree::at(new, &["spec", field]), tree::at(old, &["spec", field]));
        let was_set = before.is_some_and(|value| !tree::is_empty(value) && value != "");
        if was_set && !tree::same(now, before) {
            let why = format!("node updates may not change {shown} except from \"\" to valid");
            errors.push(FieldError::forbidden(&FieldPath::new("spec").child(field), why));
        }
    }
    errors
}

/// Events of both groups: the object that one is about, and the sizes of those with an `eventTime`.
pub(super) fn event(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let subject = if tree::at(object, &["regarding"]).is_some() {
        "regarding"
    } else {
        "involvedObject"
    };
    let about = tree::text(object, &[subject, "namespace"]);
    let home = tree::namespace(object);
    let agrees = if about.is_empty() {
        matches!(home, "" | "default")
    } else {
        about == home
    };
    if !agrees {
        let path = FieldPath::new(subject).child("namespace");
        errors.push(FieldError::invalid(
            &path,
            about,
            "does not match event.namespace",
        ));
    }
    if tree::at(object, &["eventTime"]).is_none() {
        return errors;
    }
    let root = FieldPath::default();
    let controller = ["reportingController", "reportingComponent"]
        .into_iter()
        .find(|field| tree::at(object, &[field]).is_some())
        .unwrap_or("reportingController");
    errors.extend(check::required(object, controller, &root));
    let name = tree::text(object, &[controller]);
    if !name.is_empty() {
        errors.extend(check::qualified_name(name, &root.child(controller)));
    }
    for field in ["reportingInstance", "action", "reason"] {
        errors.extend(check::required(object, field, &root));
        if tree::text(object, &[field]).len() > 128 {
            let why = "can have at most 128 characters";
            errors.push(FieldError::invalid(&root.child(field), "", why));
        }
    }
    for field in ["message", "note"] {
        if tree::text(object, &[field]).len() > 1024 {
            let why = "can have at most 1024 characters";
            errors.push(FieldError::invalid(&root.child(field), "", why));
        }
    }
    errors
}

pub(super) fn lease(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let mut errors = ErrorList::new();
    if let Some(seconds) = tree::int(object, &["spec", "leaseDurationSeconds"]).filter(|n| *n <= 0) {
        let path = path.child("leaseDurationSeconds");
        errors.push(FieldError::invalid(&path, seconds, "must be greater than 0"));
    }
    if let Some(count) = tree::int(object, &["spec", "leaseTransitions"]).filter(|n| *n < 0) {
        let path = path.child("leaseTransitions");
        errors.push(FieldError::invalid(&path, count, check::NEGATIVE));
    }
    errors
}
