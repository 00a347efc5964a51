//! Validation: what an object must be before it is stored.
//!
//! Runs after defaulting. Follows `pkg/apis/*/validation/validation.go` (1.36): the same fields, kinds of error and
//! texts. The shape (types, unknown fields) is checked earlier, by the schema.

mod config;

use serde_json::Value;

use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

/// Checks a new object of a built-in resource; metadata is checked apart ([`crate::metadata::validate`]).
pub fn validate(group: &str, plural: &str, object: &Value) -> ErrorList {
    match (group, plural) {
        ("", "configmaps") => config::config_map(object),
        ("", "secrets") => config::secret(object),
        _ => ErrorList::new(),
    }
}

/// Checks a changed object against the old one.
pub fn validate_update(group: &str, plural: &str, new: &Value, old: &Value) -> ErrorList {
    let mut errors = match (group, plural) {
        ("", "configmaps") => config::immutable(new, old, &["data", "binaryData"]),
        ("", "secrets") => config::secret_update(new, old),
        ("apps", "deployments" | "replicasets" | "daemonsets") => {
            immutable(new, old, &["spec", "selector"]).into_iter().collect()
        }
        ("apps", "controllerrevisions") => immutable(new, old, &["data"]).into_iter().collect(),
        ("policy", "poddisruptionbudgets") => ErrorList::new(),
        ("discovery.k8s.io", "endpointslices") => immutable(new, old, &["addressType"]).into_iter().collect(),
        ("networking.k8s.io", "ingressclasses") => {
            immutable(new, old, &["spec", "controller"]).into_iter().collect()
        }
        ("node.k8s.io", "runtimeclasses") => immutable(new, old, &["handler"]).into_iter().collect(),
        _ => ErrorList::new(),
    };
    // Fields that did not change are not judged again where upstream ratchets; elsewhere it judges all.
    errors.extend(validate(group, plural, new));
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
        _ => ErrorList::new(),
    }
}

/// Texts for `Warning` headers.
pub fn warnings(group: &str, plural: &str, new: &Value, _old: Option<&Value>) -> Vec<String> {
    match (group, plural) {
        ("", "endpoints") => {
            vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()]
        }
        _ => Vec::new(),
    }
}

/// The field may not change.
fn immutable(new: &Value, old: &Value, path: &[&str]) -> Option<FieldError> {
    let (now, before) = (tree::at(new, path), tree::at(old, path));
    (!tree::same(now, before)).then(|| {
        FieldError::invalid(
            &FieldPath::new(&path.join(".")),
            now.cloned().unwrap_or(Value::Null),
            "field is immutable",
        )
    })
}

/// The number at a path is not below zero.
fn not_negative(object: &Value, at: &[&str], path: &FieldPath) -> Option<FieldError> {
    let number = tree::int(object, at)?;
    (number < 0).then(|| FieldError::invalid(path, number, "must be greater than or equal to 0"))
}

/// The text at a path is there and one of `supported`.
fn one_of(
    object: &Value,
    field: &str,
    path: &FieldPath,
    supported: &[&str],
    required: bool,
) -> Option<FieldError> {
    let text = tree::text(object, &[field]);
    let path = path.child(field);
    if text.is_empty() {
        return required.then(|| FieldError::required(&path, ""));
    }
    (!supported.contains(&text)).then(|| FieldError::not_supported(&path, text, supported))
}

/// The text at a path is there.
fn required(object: &Value, field: &str, path: &FieldPath) -> Option<FieldError> {
    tree::text(object, &[field])
        .is_empty()
        .then(|| FieldError::required(&path.child(field), ""))
}

/// An absolute number that is not negative, or a percentage (`IntOrString`).
fn int_or_percent(value: &Value, path: &FieldPath) -> ErrorList {
    match value {
        Value::Number(number) => number
            .as_i64()
            .filter(|number| *number < 0)
            .map(|number| FieldError::invalid(path, number, "must be greater than or equal to 0"))
            .into_iter()
            .collect(),
        Value::String(text) => {
            let digits = text.strip_suffix('%').unwrap_or("");
            if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
                let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or \
                           '93%', regex used for validation is '[0-9]+%')";
                vec![FieldError::invalid(path, text.as_str(), why)]
            } else {
                ErrorList::new()
            }
        }
        other => vec![FieldError::invalid(
            path,
            other.clone(),
            "must be an integer or percentage (e.g '5%')",
        )],
    }
}

/// The value of a percentage; `None` for a plain number.
fn percent(value: Option<&Value>) -> Option<i64> {
    value?.as_str()?.strip_suffix('%')?.parse().ok()
}
