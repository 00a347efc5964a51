//! Environment variables and the references they are filled from (`ValidateEnv`, `ValidateEnvFrom`).

use quantity::Quantity;
use serde_json::Value;

use super::super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{names, tree};

pub(super) fn variables(container: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, variable) in tree::list(container, &["env"]).iter().enumerate() {
        let path = path.child("env").index(i);
        let name = tree::text(variable, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else {
            errors.extend(check::invalid(
                &path.child("name"),
                name,
                names::env_var_name(name),
            ));
        }
        if let Some(source) = tree::at(variable, &["valueFrom"]) {
            let has_value = !tree::text(variable, &["value"]).is_empty();
            errors.extend(value_source(source, has_value, &path.child("valueFrom")));
        }
    }
    errors
}

/// What variables of a container may show of its pod.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn value_source(source: &Value, has_value: bool, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut sources = 0;
    let mut visit = |field: &str, check: &dyn Fn(&Value, &FieldPath) -> ErrorList| {
        if let Some(reference) = tree::at(source, &[field]) {
            sources += 1;
            errors.extend(check(reference, &path.child(field)));
        }
    };
    visit("fieldRef", &|reference, path| {
        field_reference(reference, &FIELDS, path)
    });
    visit("resourceFieldRef", &|reference, path| {
        resource_reference(reference, false, path)
    });
    visit("configMapKeyRef", &key_reference);
    visit("secretKeyRef", &key_reference);
    visit("fileKeyRef", &file_reference);
    let why = match (sources, has_value) {
        (0, _) => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        (_, true) => "may not be specified when `value` is not empty",
        (1, false) => return errors,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, "", why));
    errors
}

fn key_reference(reference: &Value, path: &FieldPath) -> ErrorList {
    let (name, key) = (tree::text(reference, &["name"]), tree::text(reference, &["key"]));
    let mut errors = check::subdomain(name, &path.child("name"));
    if key.is_empty() {
        errors.push(FieldError::required(&path.child("key"), ""));
    } else {
        errors.extend(check::invalid(
            &path.child("key"),
            key,
            names::config_map_key(key),
        ));
    }
    errors
}

fn file_reference(reference: &Value, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = ["volumeName", "path", "key"]
        .iter()
        .filter_map(|field| check::required(reference, field, path))
        .collect();
    let file = tree::text(reference, &["path"]);
    errors.extend(check::unreserved_path(file, &path.child("path")));
    errors
}

pub(super) fn bulk_sources(container: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let list_path = path.child("envFrom");
    for (i, source) in tree::list(container, &["envFrom"]).iter().enumerate() {
        let path = list_path.index(i);
        let prefix = tree::text(source, &["prefix"]);
        if !prefix.is_empty() {
            errors.extend(check::invalid(
                &path.child("prefix"),
                prefix,
                names::env_var_name(prefix),
            ));
        }
        let mut sources = 0;
        for field in ["configMapRef", "secretRef"] {
            let Some(reference) = tree::at(source, &[field]) else {
                continue;
            };
            sources += 1;
            let (name, path) = (tree::text(reference, &["name"]), path.child(field).child("name"));
            if name.is_empty() {
                errors.push(FieldError::required(&path, ""));
            } else {
                errors.extend(check::invalid(&path, name, names::dns1123_subdomain(name, true)));
            }
        }
        let why = match sources {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        // Upstream names the list, not its item.
        errors.push(FieldError::invalid(&list_path, "", why));
    }
    errors
}

/// A field of the pod; `allowed` are those without a subscript (`validateObjectFieldSelector`).
pub(super) fn field_reference(reference: &Value, allowed: &[&str], path: &FieldPath) -> ErrorList {
    for field in ["apiVersion", "fieldPath"] {
        if let Some(error) = check::required(reference, field, path) {
            return vec![error];
        }
    }
    let field = tree::text(reference, &["fieldPath"]);
    let at = path.child("fieldPath");
    let version = tree::text(reference, &["apiVersion"]);
    if version != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {version}");
        return vec![FieldError::invalid(&at, field, why)];
    }
    if let Some((holder, key)) = field.strip_suffix("']").and_then(|rest| rest.split_once("['")) {
        return match holder {
            "metadata.annotations" => check::qualified_name(&key.to_lowercase(), path),
            "metadata.labels" => check::qualified_name(key, path),
            _ => {
                let why =
                    format!("error converting fieldPath: field label does not support subscript: {field}");
                vec![FieldError::invalid(&at, field, why)]
            }
        };
    }
    let known = [
        "metadata.annotations",
        "metadata.labels",
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.phase",
    ];
    if !FIELDS.contains(&field) && !known.contains(&field) {
        let why = format!("error converting fieldPath: field label not supported: {field}");
        return vec![FieldError::invalid(&at, field, why)];
    }
    if allowed.contains(&field) {
        ErrorList::new()
    } else {
        vec![FieldError::not_supported(&at, field, allowed)]
    }
}

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// A request or limit of a container; volumes have to say of which one.
pub(super) fn resource_reference(reference: &Value, of_volume: bool, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let name = tree::text(reference, &["resource"]);
    let huge_pages = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
    if of_volume && tree::text(reference, &["containerName"]).is_empty() {
        errors.push(FieldError::required(&path.child("containerName"), ""));
    } else if name.is_empty() {
        errors.push(FieldError::required(&path.child("resource"), ""));
    } else if !RESOURCES.contains(&name) && !huge_pages {
        errors.push(FieldError::not_supported(
            &path.child("resource"),
            name,
            &RESOURCES,
        ));
    }
    errors.extend(divisor(reference, name, path));
    errors
}

fn divisor(reference: &Value, name: &str, path: &FieldPath) -> Option<FieldError> {
    const UNITS: [&str; 13] = [
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    let divisor = Quantity::from_value(tree::at(reference, &["divisor"])?).ok()?;
    let (kind, units): (&str, &[&str]) = match name.split_once('.')?.1 {
        "cpu" => ("cpu", &["1m", "1"]),
        "memory" => ("memory", &UNITS),
        "ephemeral-storage" => ("local ephemeral storage", &UNITS),
        name if name.starts_with("hugepages-") => ("hugepages", &UNITS),
        _ => return None,
    };
    // A binary unit prints as a plain number below 1024: compare amounts.
    let fits = divisor.is_zero() || units.iter().any(|unit| unit.parse::<Quantity>() == Ok(divisor));
    let list = if kind == "cpu" {
        "1m and 1".to_owned()
    } else {
        UNITS.join(", ")
    };
    let why = format!("only divisor's values {list} are supported with the {kind} resource");
    (!fits).then(|| FieldError::invalid(&path.child("divisor"), name, why))
}
