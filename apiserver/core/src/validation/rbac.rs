//! Roles and who has them (`pkg/apis/rbac/validation/validation.go`).

use serde_json::Value;

use super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{label_selector, names, tree};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn role(object: &Value, namespaced: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, rule) in tree::list(object, &["rules"]).iter().enumerate() {
        errors.extend(policy_rule(rule, namespaced, &FieldPath::new("rules").index(i)));
    }
    if let Some(aggregation) = tree::at(object, &["aggregationRule"]) {
        let path = FieldPath::new("aggregationRule.clusterRoleSelectors");
        let selectors = tree::list(aggregation, &["clusterRoleSelectors"]);
        if selectors.is_empty() {
            let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(FieldError::required(&path, why));
        }
        for (i, selector) in selectors.iter().enumerate() {
            errors.extend(label_selector::validate(selector, &path.index(i)));
        }
    }
    errors
}

fn policy_rule(rule: &Value, namespaced: bool, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = |field: &str| tree::list(rule, &[field]);
    if list("verbs").is_empty() {
        let why = "verbs must contain at least one value";
        errors.push(FieldError::required(&path.child("verbs"), why));
    }
    let urls = list("nonResourceURLs");
    if urls.is_empty() {
        for (field, what) in [("apiGroups", "api group"), ("resources", "resource")] {
            if list(field).is_empty() {
                let why = format!("resource rules must supply at least one {what}");
                errors.push(FieldError::required(&path.child(field), why));
            }
        }
        return errors;
    }
    let at = path.child("nonResourceURLs");
    if namespaced {
        let why = "namespaced rules cannot apply to non-resource URLs";
        errors.push(FieldError::invalid(&at, urls.to_vec(), why));
    }
    if ["apiGroups", "resources", "resourceNames"]
        .iter()
        .any(|field| !list(field).is_empty())
    {
        let why = "rules cannot apply to both regular resources and non-resource URLs";
        errors.push(FieldError::invalid(&at, urls.to_vec(), why));
    }
    errors
}

pub(super) fn binding(object: &Value, namespaced: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = FieldPath::new("roleRef");
    let role = object.get("roleRef").unwrap_or(&Value::Null);
    let group = tree::text(role, &["apiGroup"]);
    if group != GROUP {
        errors.push(FieldError::not_supported(
            &path.child("apiGroup"),
            group,
            &[GROUP],
        ));
    }
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    let kind = tree::text(role, &["kind"]);
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported(&path.child("kind"), kind, kinds));
    }
    let name = tree::text(role, &["name"]);
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    } else {
        errors.extend(check::invalid(
            &path.child("name"),
            name,
            names::path_segment(name, false),
        ));
    }
    for (i, subject) in tree::list(object, &["subjects"]).iter().enumerate() {
        let path = FieldPath::new("subjects").index(i);
        errors.extend(role_subject(subject, namespaced, &path));
    }
    errors
}

fn role_subject(subject: &Value, namespaced: bool, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = check::required(subject, "name", path).into_iter().collect();
    let group = tree::text(subject, &["apiGroup"]);
    let group_path = path.child("apiGroup");
    match tree::text(subject, &["kind"]) {
        "ServiceAccount" => {
            let name = tree::text(subject, &["name"]);
            if !name.is_empty() {
                errors.extend(check::subdomain(name, &path.child("name")));
            }
            if !group.is_empty() {
                errors.push(FieldError::not_supported(&group_path, group, &[""]));
            }
            if !namespaced {
                errors.extend(check::required(subject, "namespace", path));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(FieldError::not_supported(&group_path, group, &[GROUP]));
            }
        }
        kind => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(&path.child("kind"), kind, &kinds));
        }
    }
    errors
}

/// Who is bound may change; to what may not.
pub(super) fn binding_update(new: &Value, old: &Value) -> Option<FieldError> {
    let (now, before) = (tree::at(new, &["roleRef"]), tree::at(old, &["roleRef"]));
    (!tree::same(now, before)).then(|| {
        let shown = now.cloned().unwrap_or_default();
        FieldError::invalid(&FieldPath::new("roleRef"), shown, "cannot change roleRef")
    })
}
