//! Where a pod may and should run: affinity to nodes and pods, tolerations, spreading
//! (`validateAffinity`, `ValidateTolerations`, `validateTopologySpreadConstraints`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{label_selector, names, tree};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = path.child("affinity");
    if let Some(node) = tree::at(spec, &["affinity", "nodeAffinity"]) {
        let path = path.child("nodeAffinity");
        if let Some(selector) = tree::at(node, &[REQUIRED]) {
            errors.extend(node_selector(selector, &path.child(REQUIRED)));
        }
        for (i, term) in tree::list(node, &[PREFERRED]).iter().enumerate() {
            let path = path.child(PREFERRED).index(i);
            errors.extend(weight(term, &path));
            if let Some(preference) = tree::at(term, &["preference"]) {
                // Values that are no label values are let through: they only never match.
                errors.extend(node_term(preference, false, &path.child("preference")));
            }
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = tree::at(spec, &["affinity", kind]) else {
            continue;
        };
        let path = path.child(kind);
        for (i, term) in tree::list(affinity, &[REQUIRED]).iter().enumerate() {
            errors.extend(pod_term(term, &path.child(REQUIRED).index(i)));
        }
        for (i, weighted) in tree::list(affinity, &[PREFERRED]).iter().enumerate() {
            let path = path.child(PREFERRED).index(i);
            errors.extend(weight(weighted, &path));
            let term = weighted.get("podAffinityTerm").unwrap_or(&Value::Null);
            errors.extend(pod_term(term, &path.child("podAffinityTerm")));
        }
    }
    errors
}

fn weight(term: &Value, path: &FieldPath) -> Option<FieldError> {
    let weight = tree::int(term, &["weight"]).unwrap_or(0);
    let why = "must be in the range 1-100";
    (!(1..=100).contains(&weight)).then(|| FieldError::invalid(&path.child("weight"), weight, why))
}

/// A selector of nodes; also of volumes.
pub(in super::super) fn node_selector(selector: &Value, path: &FieldPath) -> ErrorList {
    let path = path.child("nodeSelectorTerms");
    let terms = tree::list(selector, &["nodeSelectorTerms"]);
    if terms.is_empty() {
        let why = "must have at least one node selector term";
        return vec![FieldError::required(&path, why)];
    }
    let judge = |(i, term)| node_term(term, true, &path.index(i));
    terms.iter().enumerate().flat_map(judge).collect()
}

fn node_term(term: &Value, check_values: bool, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, requirement) in tree::list(term, &["matchExpressions"]).iter().enumerate() {
        let path = path.child("matchExpressions").index(i);
        errors.extend(node_requirement(requirement, check_values, &path));
    }
    for (i, requirement) in tree::list(term, &["matchFields"]).iter().enumerate() {
        let path = path.child("matchFields").index(i);
        let values = tree::list(requirement, &["values"]);
        match tree::text(requirement, &["operator"]) {
            "In" | "NotIn" if values.len() != 1 => {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(FieldError::required(&path.child("values"), why));
            }
            "In" | "NotIn" => {}
            other => errors.push(FieldError::invalid(
                &path.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = tree::text(requirement, &["key"]);
        if key == "metadata.name" {
            for (j, name) in values.iter().filter_map(Value::as_str).enumerate() {
                errors.extend(check::subdomain(name, &path.child("values").index(j)));
            }
        } else {
            let why = "not a valid field selector key";
            errors.push(FieldError::invalid(&path.child("key"), key, why));
        }
    }
    errors
}

fn node_requirement(requirement: &Value, check_values: bool, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let values = tree::list(requirement, &["values"]);
    let values_path = path.child("values");
    match tree::text(requirement, &["operator"]) {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(&values_path, why));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(&values_path, why));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(&values_path, why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(FieldError::invalid(
            &path.child("operator"),
            other,
            "not a valid selector operator",
        )),
    }
    errors.extend(check::qualified_name(
        tree::text(requirement, &["key"]),
        &path.child("key"),
    ));
    if check_values {
        for (i, value) in values.iter().filter_map(Value::as_str).enumerate() {
            errors.extend(check::invalid(
                &values_path.index(i),
                value,
                names::label_value(value),
            ));
        }
    }
    errors
}

fn pod_term(term: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for field in ["labelSelector", "namespaceSelector"] {
        if let Some(selector) = tree::at(term, &[field]) {
            errors.extend(label_selector::validate(selector, &path.child(field)));
        }
    }
    for namespace in tree::list(term, &["namespaces"]).iter().filter_map(Value::as_str) {
        errors.extend(check::label(namespace, &path.child("namespace")));
    }
    let selector = tree::at(term, &["labelSelector"]);
    let mismatched = tree::list(term, &["mismatchLabelKeys"]);
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let keys = tree::list(term, &[field]);
        let path = path.child(field);
        if !keys.is_empty() && selector.is_none() {
            let why = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(&path, why));
            continue;
        }
        for (i, key) in keys.iter().filter_map(Value::as_str).enumerate() {
            errors.extend(check::qualified_name(key, &path.index(i)));
            if field == "matchLabelKeys" && mismatched.iter().any(|other| other == key) {
                let why = "exists in both matchLabelKeys and mismatchLabelKeys";
                errors.push(FieldError::invalid(&path.index(i), key, why));
            }
        }
    }
    let key = tree::text(term, &["topologyKey"]);
    if key.is_empty() {
        errors.push(FieldError::required(
            &path.child("topologyKey"),
            "can not be empty",
        ));
    }
    errors.extend(check::qualified_name(key, &path.child("topologyKey")));
    errors
}

pub(super) fn tolerations(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, toleration) in tree::list(spec, &["tolerations"]).iter().enumerate() {
        let path = path.child("tolerations").index(i);
        let key = tree::text(toleration, &["key"]);
        let operator = tree::text(toleration, &["operator"]);
        let value = tree::text(toleration, &["value"]);
        let effect = tree::text(toleration, &["effect"]);
        if !key.is_empty() {
            errors.extend(check::qualified_name(key, &path.child("key")));
        }
        let operator_path = path.child("operator");
        if key.is_empty() && operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&operator_path, operator, why));
        }
        if tree::at(toleration, &["tolerationSeconds"]).is_some() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&path.child("effect"), effect, why));
        }
        match operator {
            "" | "Equal" => {
                let reasons = names::label_value(value);
                if !reasons.is_empty() {
                    errors.push(FieldError::invalid(&operator_path, value, reasons.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(&operator_path, value, why));
            }
            "Exists" => {}
            other => {
                let supported = ["Equal", "Exists"];
                errors.push(FieldError::not_supported(&operator_path, other, &supported));
            }
        }
        if !effect.is_empty() {
            errors.extend(taint_effect(toleration, &path));
        }
    }
    errors
}

/// The effect of a taint or toleration.
pub(in super::super) fn taint_effect(holder: &Value, path: &FieldPath) -> Option<FieldError> {
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    check::one_of(holder, "effect", path, &effects)
}

pub(super) fn spread(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let constraints = tree::list(spec, &["topologySpreadConstraints"]);
    let kind = |constraint: &Value| {
        let text = |field| tree::text(constraint, &[field]).to_owned();
        (text("topologyKey"), text("whenUnsatisfiable"))
    };
    for (i, constraint) in constraints.iter().enumerate() {
        let path = path.child("topologySpreadConstraints").index(i);
        let skew = tree::int(constraint, &["maxSkew"]).unwrap_or(0);
        if skew <= 0 {
            let why = "must be greater than zero";
            errors.push(FieldError::invalid(&path.child("maxSkew"), skew, why));
        }
        let (key, action) = kind(constraint);
        if key.is_empty() {
            errors.push(FieldError::required(
                &path.child("topologyKey"),
                "can not be empty",
            ));
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if !actions.contains(&action.as_str()) {
            let path = path.child("whenUnsatisfiable");
            errors.push(FieldError::not_supported(&path, action.as_str(), &actions));
        }
        if constraints[i + 1..]
            .iter()
            .any(|other| kind(other) == kind(constraint))
        {
            let path = path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(&path, format!("{{{key}, {action}}}")));
        }
        if let Some(domains) = tree::int(constraint, &["minDomains"]) {
            let path = path.child("minDomains");
            if domains <= 0 {
                let why = "must be greater than zero";
                errors.push(FieldError::invalid(&path, domains, why));
            }
            if action != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.push(FieldError::invalid(&path, domains, why));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            errors.extend(check::optional_one_of(
                constraint,
                field,
                &path,
                &["Honor", "Ignore"],
            ));
        }
        errors.extend(spread_keys(constraint, &path));
        if let Some(selector) = tree::at(constraint, &["labelSelector"]) {
            errors.extend(label_selector::validate(selector, &path.child("labelSelector")));
        }
    }
    errors
}

fn spread_keys(constraint: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let keys = tree::list(constraint, &["matchLabelKeys"]);
    let path = path.child("matchLabelKeys");
    if keys.is_empty() {
        return errors;
    }
    let Some(selector) = tree::at(constraint, &["labelSelector"]) else {
        let why = "must not be specified when labelSelector is not set";
        return vec![FieldError::forbidden(&path, why)];
    };
    // Preparation has put each of the keys into an expression once.
    let mut selected: BTreeSet<&str> = tree::strings(selector, &["matchLabels"])
        .map(|(key, _)| key)
        .collect();
    let mut repeated = BTreeSet::new();
    for expression in tree::list(selector, &["matchExpressions"]) {
        let key = tree::text(expression, &["key"]);
        if !selected.insert(key) {
            repeated.insert(key);
        }
    }
    for (i, key) in keys.iter().filter_map(Value::as_str).enumerate() {
        errors.extend(check::qualified_name(key, &path.index(i)));
        if repeated.contains(key) {
            let why = "exists in both matchLabelKeys and labelSelector";
            errors.push(FieldError::invalid(&path.index(i), key, why));
        }
    }
    errors
}

/// Required terms of a gated pod may get more requirements, and nothing else (`validateNodeAffinityMutation`).
pub(super) fn narrowed(new: Option<&Value>, old: Option<&Value>, path: &FieldPath) -> ErrorList {
    let terms = |affinity: Option<&Value>| {
        let affinity = affinity.unwrap_or(&Value::Null);
        tree::list(affinity, &[REQUIRED, "nodeSelectorTerms"]).to_vec()
    };
    let (now, before) = (terms(new), terms(old));
    let path = path.child(REQUIRED).child("nodeSelectorTerms");
    if !before.is_empty() && before.len() != now.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return vec![FieldError::invalid(&path, now, why)];
    }
    let mut errors = ErrorList::new();
    for (i, (before, now)) in before.iter().zip(&now).enumerate() {
        let kept = |field| {
            let (before, now) = (tree::list(before, &[field]), tree::list(now, &[field]));
            now.starts_with(before)
        };
        // A term without requirements selects nothing; one with some would select more.
        let widened = tree::is_empty(before) && !tree::is_empty(now);
        if widened || !kept("matchExpressions") || !kept("matchFields") {
            let why = "only additions are allowed (no mutations or deletions)";
            errors.push(FieldError::invalid(&path.index(i), now.clone(), why));
        }
    }
    errors
}
