//! Certificate signing requests (`pkg/apis/certificates/validation/validation.go`).
//!
//! The request itself is read as PEM only; what it asks for is judged by who signs it.

use base64::Engine;
use serde_json::Value;

use super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

const MIN_SECONDS: i64 = 600;
const PEM: &[u8] = b"-----BEGIN CERTIFICATE REQUEST-----";

pub(super) fn request(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut errors = ErrorList::new();
    let body = base64::engine::general_purpose::STANDARD.decode(tree::text(spec, &["request"]));
    if !body.is_ok_and(|body| body.trim_ascii_start().starts_with(PEM)) {
        let shown = spec.get("request").cloned().unwrap_or_default();
        let why = "PEM block type must be CERTIFICATE REQUEST";
        errors.push(FieldError::invalid(&path.child("request"), shown, why));
    }
    let usages = tree::list(spec, &["usages"]);
    let usages_path = path.child("usages");
    if usages.is_empty() {
        errors.push(FieldError::required(&usages_path, ""));
    }
    for (i, usage) in usages.iter().enumerate() {
        if usages[..i].contains(usage) {
            errors.push(FieldError::duplicate(&usages_path.index(i), usage.clone()));
        }
    }
    errors.extend(signer_name(
        tree::text(spec, &["signerName"]),
        &path.child("signerName"),
    ));
    if let Some(seconds) = tree::int(spec, &["expirationSeconds"]).filter(|n| *n < MIN_SECONDS) {
        let why = format!("may not specify a duration less than {MIN_SECONDS} seconds (10 minutes)");
        errors.push(FieldError::invalid(
            &path.child("expirationSeconds"),
            seconds,
            why,
        ));
    }
    errors.extend(conditions(object));
    errors
}

fn signer_name(name: &str, path: &FieldPath) -> ErrorList {
    if name.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    match name.split_once('/') {
        Some((domain, rest)) if !rest.is_empty() && !rest.contains('/') => {
            let mut errors = check::subdomain(domain, path);
            if !domain.contains('.') {
                let why = "should be a domain with at least two segments separated by dots";
                errors.push(FieldError::invalid(path, domain, why));
            }
            for part in rest.split('.') {
                errors.extend(check::label(&part.to_lowercase(), path));
            }
            errors
        }
        _ => {
            let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            vec![FieldError::invalid(path, name, why)]
        }
    }
}

fn conditions(object: &Value) -> ErrorList {
    let path = FieldPath::new("status.conditions");
    let list = tree::list(object, &["status", "conditions"]);
    let kinds: Vec<&str> = list
        .iter()
        .map(|condition| tree::text(condition, &["type"]))
        .collect();
    let mut errors = ErrorList::new();
    for (i, (condition, kind)) in list.iter().zip(&kinds).enumerate() {
        let path = path.index(i);
        errors.extend(check::required(condition, "type", &path));
        let status = tree::text(condition, &["status"]);
        let path = path.child("status");
        match (*kind, status) {
            (_, "") => errors.push(FieldError::required(&path, "")),
            ("Approved" | "Denied" | "Failed", status) if status != "True" => {
                errors.push(FieldError::not_supported(&path, status, &["True"]));
            }
            _ => {}
        }
        let other = match *kind {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => continue,
        };
        if kinds[..i].contains(&other) {
            let path = FieldPath::new("status.conditions").index(i).child("type");
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&path, *kind, why));
        }
    }
    errors
}

/// What was decided stays decided, and a certificate stays as it was given.
pub(super) fn update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = request(new);
    let kinds = |object: &Value| -> Vec<String> {
        tree::list(object, &["status", "conditions"])
            .iter()
            .map(|condition| tree::text(condition, &["type"]).to_owned())
            .collect()
    };
    let now = kinds(new);
    for kind in kinds(old).iter().filter(|kind| !now.contains(kind)) {
        if matches!(kind.as_str(), "Approved" | "Denied" | "Failed") {
            let why = format!("updates may not remove a condition of type \"{kind}\"");
            errors.push(FieldError::forbidden(&FieldPath::new("status.conditions"), why));
        }
    }
    let certificate = ["status", "certificate"];
    let before = tree::text(old, &certificate);
    if !before.is_empty() && tree::text(new, &certificate) != before {
        let shown = tree::text(new, &certificate);
        let path = FieldPath::new("status.certificate");
        let why = "updates may not change the certificate content once set";
        errors.push(FieldError::invalid(&path, shown, why));
    }
    errors
}
