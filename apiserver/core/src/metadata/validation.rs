//! The checks of object metadata (`apimachinery/pkg/api/validation/objectmeta.go`, 1.36).

use serde_json::Value;

use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::resource::Resource;
use crate::{names, tree};

/// All annotations together, keys and values, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Checks the metadata of an object that is going to be created.
pub fn validate(object: &Value, resource: &Resource) -> ErrorList {
    let path = FieldPath::new("metadata");
    let mut errors = ErrorList::new();
    let base = tree::text(object, &["metadata", "generateName"]);
    if !base.is_empty() {
        for reason in resource.strategy.validate_name(base, true) {
            errors.push(FieldError::invalid(&path.child("generateName"), base, reason));
        }
    }
    let name = tree::name(object);
    if name.is_empty() {
        errors.push(FieldError::required(
            &path.child("name"),
            "name or generateName is required",
        ));
    } else {
        for reason in resource.strategy.validate_name(name, false) {
            errors.push(FieldError::invalid(&path.child("name"), name, reason));
        }
    }
    let namespace = tree::namespace(object);
    if resource.namespaced {
        if namespace.is_empty() {
            errors.push(FieldError::required(&path.child("namespace"), ""));
        } else {
            for reason in names::dns1123_label(namespace, false) {
                errors.push(FieldError::invalid(&path.child("namespace"), namespace, reason));
            }
        }
    } else if !namespace.is_empty() {
        errors.push(FieldError::forbidden(
            &path.child("namespace"),
            "not allowed on this type",
        ));
    }
    errors.extend(validate_common(object, &path));
    errors
}

fn validate_common(object: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    if tree::int(object, &["metadata", "generation"]).is_some_and(|generation| generation < 0) {
        let value = tree::int(object, &["metadata", "generation"]);
        errors.push(FieldError::invalid(
            &path.child("generation"),
            value,
            "must be greater than or equal to 0",
        ));
    }
    errors.extend(validate_labels(
        object,
        &["metadata", "labels"],
        &path.child("labels"),
    ));
    errors.extend(validate_annotations(
        object,
        &["metadata", "annotations"],
        &path.child("annotations"),
    ));
    errors.extend(validate_owners(object, &path.child("ownerReferences")));
    errors.extend(validate_finalizers(object, &path.child("finalizers")));
    errors
}

/// Checks the map of labels at a path of an object.
pub fn validate_labels(object: &Value, at: &[&str], path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for (key, value) in tree::strings(object, at) {
        for reason in names::qualified_name(key) {
            errors.push(FieldError::invalid(path, key, reason));
        }
        for reason in names::label_value(value) {
            errors.push(FieldError::invalid(path, value, reason));
        }
    }
    errors
}

/// Checks the map of annotations at a path of an object.
pub fn validate_annotations(object: &Value, at: &[&str], path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut size = 0;
    for (key, value) in tree::strings(object, at) {
        // The case of annotation keys does not matter.
        for reason in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(path, key, reason));
        }
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_MAX));
    }
    errors
}

fn validate_owners(object: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut controller: Option<&str> = None;
    for (i, owner) in tree::list(object, &["metadata", "ownerReferences"])
        .iter()
        .enumerate()
    {
        let path = path.index(i);
        let (api_version, kind) = (tree::text(owner, &["apiVersion"]), tree::text(owner, &["kind"]));
        if api_version.is_empty() || api_version.matches('/').count() > 1 {
            errors.push(FieldError::invalid(
                &path.child("apiVersion"),
                api_version,
                "version must not be empty",
            ));
        }
        for (field, text) in [
            ("kind", kind),
            ("name", tree::text(owner, &["name"])),
            ("uid", tree::text(owner, &["uid"])),
        ] {
            if text.is_empty() {
                errors.push(FieldError::invalid(&path.child(field), text, "must not be empty"));
            }
        }
        if api_version == "v1" && kind == "Event" {
            errors.push(FieldError::invalid(
                &path,
                kind,
                "v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if tree::flag(owner, &["controller"]) {
            let name = tree::text(owner, &["name"]);
            if let Some(first) = controller {
                let text = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                errors.push(FieldError::invalid(&path.child("controller"), true, text));
            } else {
                controller = Some(name);
            }
        }
    }
    errors
}

fn validate_finalizers(object: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let finalizers = tree::list(object, &["metadata", "finalizers"]);
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    for (i, finalizer) in finalizers.iter().enumerate() {
        let text = finalizer.as_str().unwrap_or("");
        for reason in names::qualified_name(text) {
            errors.push(FieldError::invalid(&path.index(i), text, reason));
        }
    }
    if has("orphan") && has("foregroundDeletion") {
        let text = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, Value::Array(finalizers.to_vec()), text));
    }
    errors
}

/// Checks the metadata of a changed object against the old one.
pub fn validate_update(new: &Value, old: &Value) -> ErrorList {
    let path = FieldPath::new("metadata");
    let mut errors = ErrorList::new();
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let (now, before) = (
            tree::at(new, &["metadata", field]),
            tree::at(old, &["metadata", field]),
        );
        if now != before {
            errors.push(FieldError::invalid(
                &path.child(field),
                now.cloned().unwrap_or(Value::Null),
                "field is immutable",
            ));
        }
    }
    if tree::at(old, &["metadata", "deletionTimestamp"]).is_some() {
        let before = tree::list(old, &["metadata", "finalizers"]);
        let added: Vec<Value> = tree::list(new, &["metadata", "finalizers"])
            .iter()
            .filter(|finalizer| !before.contains(finalizer))
            .cloned()
            .collect();
        if !added.is_empty() {
            let names: Vec<&str> = added.iter().filter_map(Value::as_str).collect();
            errors.push(FieldError::forbidden(
                &path.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
                ),
            ));
        }
    }
    errors.extend(validate_common(new, &path));
    errors
}
