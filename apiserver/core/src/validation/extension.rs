//! Webhooks and runtime classes (`pkg/apis/admissionregistration/validation`, `pkg/apis/node/validation`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::{check, pod};
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{label_selector, metadata, names, tree};

pub(super) fn webhooks(object: &Value, mutating: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut seen = BTreeSet::new();
    for (i, hook) in tree::list(object, &["webhooks"]).iter().enumerate() {
        let path = FieldPath::new("webhooks").index(i);
        errors.extend(webhook(hook, &path));
        if mutating {
            let policies = ["IfNeeded", "Never"];
            errors.extend(check::optional_one_of(
                hook,
                "reinvocationPolicy",
                &path,
                &policies,
            ));
        }
        let name = tree::text(hook, &["name"]);
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
    errors
}

fn webhook(hook: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = full_name(tree::text(hook, &["name"]), &path.child("name"));
    errors.extend(review_versions(hook, &path.child("admissionReviewVersions")));
    for (i, rule) in tree::list(hook, &["rules"]).iter().enumerate() {
        errors.extend(webhook_rule(rule, &path.child("rules").index(i)));
    }
    for (field, supported) in [
        ("failurePolicy", ["Fail", "Ignore"]),
        ("matchPolicy", ["Equivalent", "Exact"]),
    ] {
        errors.extend(check::optional_one_of(hook, field, path, &supported));
    }
    let effects = ["None", "NoneOnDryRun"];
    if tree::at(hook, &["sideEffects"]).is_none() {
        let why = "must specify one of None, NoneOnDryRun";
        errors.push(FieldError::required(&path.child("sideEffects"), why));
    }
    errors.extend(check::optional_one_of(hook, "sideEffects", path, &effects));
    if let Some(seconds) = tree::int(hook, &["timeoutSeconds"]).filter(|n| !(1..=30).contains(n)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(&path.child("timeoutSeconds"), seconds, why));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = tree::at(hook, &[field]) {
            errors.extend(label_selector::validate(selector, &path.child(field)));
        }
    }
    let client = hook.get("clientConfig").unwrap_or(&Value::Null);
    errors.extend(client_config(client, &path.child("clientConfig")));
    let conditions = tree::list(hook, &["matchConditions"]);
    const MAX_CONDITIONS: usize = 64;
    let conditions_path = path.child("matchConditions");
    if conditions.len() > MAX_CONDITIONS {
        errors.push(FieldError::too_many(
            &conditions_path,
            conditions.len(),
            MAX_CONDITIONS,
        ));
    }
    let mut seen = BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let path = conditions_path.index(i);
        errors.extend(check::required(condition, "expression", &path));
        let name = tree::text(condition, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else {
            errors.extend(check::qualified_name(name, &path.child("name")));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
    }
    errors
}

/// A name with a domain of its own.
fn full_name(name: &str, path: &FieldPath) -> ErrorList {
    if name.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let mut errors = check::subdomain(name, path);
    if errors.is_empty() && name.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(path, name, why));
    }
    errors
}

fn review_versions(hook: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let versions: Vec<&str> = tree::list(hook, &["admissionReviewVersions"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if versions.is_empty() {
        let why = "must specify one of v1, v1beta1";
        return vec![FieldError::required(path, why)];
    }
    for (i, version) in versions.iter().enumerate() {
        if versions[..i].contains(version) {
            let mut error = FieldError::invalid(&path.index(i), *version, "duplicate version");
            error.field = path.index(i);
            errors.push(error);
        } else {
            errors.extend(check::invalid(
                &path.index(i),
                version,
                names::dns1035_label(version, false),
            ));
        }
    }
    if !versions
        .iter()
        .any(|version| matches!(*version, "v1" | "v1beta1"))
    {
        let why = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(path, serde_json::json!(versions), why));
    }
    errors
}

fn webhook_rule(rule: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = |field: &str| -> Vec<&str> {
        tree::list(rule, &[field])
            .iter()
            .filter_map(Value::as_str)
            .collect()
    };
    for field in ["operations", "apiGroups", "apiVersions", "resources"] {
        let (values, path) = (list(field), path.child(field));
        if values.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        if values.len() > 1 && values.contains(&"*") {
            let why = if field == "resources" {
                "if '*' is present, must not specify other resources without subresources"
            } else {
                match field {
                    "operations" => "if '*' is present, must not specify other operations",
                    "apiGroups" => "if '*' is present, must not specify other API groups",
                    _ => "if '*' is present, must not specify other API versions",
                }
            };
            let clashes =
                field != "resources" || values.iter().any(|value| *value != "*" && !value.contains('/'));
            if clashes {
                errors.push(FieldError::invalid(&path, serde_json::json!(values), why));
            }
        }
        for (i, value) in values.iter().enumerate() {
            let path = path.index(i);
            if value.is_empty() && field != "apiGroups" {
                errors.push(FieldError::required(&path, ""));
            }
            let operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
            if field == "operations" && !operations.contains(value) {
                errors.push(FieldError::not_supported(&path, *value, &operations));
            }
        }
    }
    let scopes = ["*", "Cluster", "Namespaced"];
    errors.extend(check::optional_one_of(rule, "scope", path, &scopes));
    errors
}

pub(super) fn client_config(client: &Value, path: &FieldPath) -> ErrorList {
    let url = tree::at(client, &["url"]).and_then(Value::as_str);
    let mut errors = ErrorList::new();
    match (url, tree::at(client, &["service"])) {
        (Some(_), Some(_)) | (None, None) => {
            let why = "exactly one of url or service is required";
            errors.push(FieldError::required(path, why));
        }
        (Some(url), None) => {
            let path = path.child("url");
            match url.strip_prefix("https://") {
                Some(rest) if rest.starts_with(['/', '?', '#']) || rest.is_empty() => {
                    let why = "host must be specified; desired format: https://host[/path]";
                    errors.push(FieldError::invalid(&path, url, why));
                }
                Some(rest) => {
                    for (mark, what) in [
                        ('@', "user information"),
                        ('#', "fragments"),
                        ('?', "query parameters"),
                    ] {
                        if rest.contains(mark) {
                            let why = format!("{what} are not permitted in the URL");
                            errors.push(FieldError::invalid(&path, url, why));
                        }
                    }
                }
                None => {
                    let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                    errors.push(FieldError::invalid(&path, url, why));
                }
            }
        }
        (None, Some(service)) => {
            let path = path.child("service");
            for field in ["name", "namespace"] {
                errors.extend(check::required(service, field, &path));
            }
            if let Some(port) = tree::int(service, &["port"]) {
                errors.extend(check::port_number(port, &path.child("port")));
            }
            let at = tree::text(service, &["path"]);
            if !at.is_empty() && !at.starts_with('/') {
                let why = "must start with a '/'";
                errors.push(FieldError::invalid(&path.child("path"), at, why));
            }
        }
    }
    errors
}

pub(super) fn runtime_class(object: &Value) -> ErrorList {
    let mut errors = check::label(tree::text(object, &["handler"]), &FieldPath::new("handler"));
    let overhead = FieldPath::new("overhead.podFixed");
    for (name, _) in tree::map(object, &["overhead", "podFixed"]).into_iter().flatten() {
        errors.extend(pod::container_name(name, &overhead.key(name)));
    }
    errors.extend(pod::quantities(object, &["overhead", "podFixed"], &overhead));
    errors.extend(metadata::validate_labels(
        object,
        &["scheduling", "nodeSelector"],
        &FieldPath::new("scheduling.nodeSelector"),
    ));
    errors
}
