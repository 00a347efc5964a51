//! Probes and lifecycle hooks: what asks a container something (`validateProbe`, `validateHandler`).

use serde_json::Value;

use super::super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

/// The three probes and two hooks of a container. `grace` is how long its pod may take to stop.
pub(super) fn all(container: &Value, grace: Option<i64>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for hook in ["postStart", "preStop"] {
        if let Some(value) = tree::at(container, &["lifecycle", hook]) {
            let path = path.child("lifecycle").child(hook);
            errors.extend(handler(
                value,
                &["exec", "httpGet", "tcpSocket", "sleep"],
                grace,
                &path,
            ));
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(value) = tree::at(container, &[name]) {
            errors.extend(probe(value, name, grace, &path.child(name)));
        }
    }
    errors
}

fn probe(probe: &Value, name: &str, grace: Option<i64>, path: &FieldPath) -> ErrorList {
    let mut errors = handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace, path);
    let numbers = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    errors.extend(check::not_negative(probe, &numbers, path));
    let stop = path.child("terminationGracePeriodSeconds");
    let own_grace = tree::int(probe, &["terminationGracePeriodSeconds"]);
    if let Some(seconds) = own_grace.filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(&stop, seconds, "must be greater than 0"));
    }
    if name == "readinessProbe" {
        if let Some(seconds) = own_grace {
            let why = "must not be set for readinessProbes";
            errors.push(FieldError::invalid(&stop, seconds, why));
        }
    } else if tree::int(probe, &["successThreshold"]).unwrap_or(0) != 1 {
        let number = tree::int(probe, &["successThreshold"]).unwrap_or(0);
        errors.push(FieldError::invalid(
            &path.child("successThreshold"),
            number,
            "must be 1",
        ));
    }
    errors
}

fn handler(handler: &Value, kinds: &[&str], grace: Option<i64>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut found = false;
    for kind in kinds {
        let Some(action) = tree::at(handler, &[kind]) else {
            continue;
        };
        let path = path.child(kind);
        if found {
            let why = "may not specify more than 1 handler type";
            errors.push(FieldError::forbidden(&path, why));
            continue;
        }
        found = true;
        match *kind {
            "exec" if tree::list(action, &["command"]).is_empty() => {
                errors.push(FieldError::required(&path.child("command"), ""));
            }
            "httpGet" => errors.extend(http_get(action, &path)),
            "tcpSocket" | "grpc" => {
                errors.extend(check::port(tree::at(action, &["port"]), &path.child("port")));
            }
            "sleep" => errors.extend(sleep(action, grace, &path)),
            _ => {}
        }
    }
    if !found {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    errors
}

fn http_get(action: &Value, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = check::required(action, "path", path).into_iter().collect();
    errors.extend(check::port(tree::at(action, &["port"]), &path.child("port")));
    let scheme = tree::text(action, &["scheme"]);
    if !matches!(scheme, "HTTP" | "HTTPS") {
        let supported = ["HTTP", "HTTPS"];
        errors.push(FieldError::not_supported(
            &path.child("scheme"),
            scheme,
            &supported,
        ));
    }
    for header in tree::list(action, &["httpHeaders"]) {
        let name = tree::text(header, &["name"]);
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
            let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
                       used for validation is '[-A-Za-z0-9]+')";
            errors.push(FieldError::invalid(&path.child("httpHeaders"), name, why));
        }
    }
    errors
}

fn sleep(action: &Value, grace: Option<i64>, path: &FieldPath) -> Option<FieldError> {
    let seconds = tree::int(action, &["seconds"]).unwrap_or(0);
    let grace = grace.filter(|grace| seconds < 0 || seconds > *grace)?;
    let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
    Some(FieldError::invalid(path, seconds, why))
}
