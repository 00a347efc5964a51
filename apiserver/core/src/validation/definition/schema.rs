//! Structural schemas: every field has a type, and combinations only restrict (`pkg/apiserver/schema/validation.go`).

use serde_json::Value;

use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

/// Where a schema stands in another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

pub(super) fn structural(schema: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    judge(schema, Level::Root, path, &mut errors);
    let metadata = tree::map(schema, &["properties", "metadata", "properties"]);
    let more = metadata
        .into_iter()
        .flat_map(|map| map.keys())
        .any(|name| !matches!(name.as_str(), "name" | "generateName"));
    if more {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        let path = path.child("properties").key("metadata");
        errors.push(FieldError::forbidden(&path, why));
    }
    errors
}

fn judge(schema: &Value, level: Level, path: &FieldPath, errors: &mut ErrorList) {
    let kind = tree::text(schema, &["type"]);
    let int_or_string = tree::flag(schema, &["x-kubernetes-int-or-string"]);
    let preserves = tree::flag(schema, &["x-kubernetes-preserve-unknown-fields"]);
    let type_path = path.child("type");
    let kinds = ["array", "boolean", "integer", "number", "object", "string"];
    match (kind, level) {
        ("", Level::Root) => errors.push(FieldError::required(&type_path, "must not be empty at the root")),
        ("", _) if int_or_string || preserves => {}
        ("", Level::Item) => {
            let why = "must not be empty for specified array items";
            errors.push(FieldError::required(&type_path, why));
        }
        ("", Level::Field) => {
            let why = "must not be empty for specified object fields";
            errors.push(FieldError::required(&type_path, why));
        }
        (kind, _) if !kinds.contains(&kind) => {
            errors.push(FieldError::not_supported(&type_path, kind, &kinds));
        }
        (kind, Level::Root) if kind != "object" => {
            let why = "must be object at the root";
            errors.push(FieldError::invalid(&type_path, kind, why));
        }
        (kind, _) if int_or_string => {
            let why = "must be empty if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(&type_path, kind, why));
        }
        _ => {}
    }
    if tree::flag(schema, &["uniqueItems"]) {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(&path.child("uniqueItems"), why));
    }
    lists(schema, kind, path, errors);
    let properties = tree::map(schema, &["properties"]);
    let additional = tree::at(schema, &["additionalProperties"]);
    if properties.is_some_and(|map| !map.is_empty())
        && additional.is_some_and(|value| value != &Value::Bool(true))
    {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(&path.child("additionalProperties"), why));
    }
    for (name, field) in properties.into_iter().flatten() {
        judge(field, Level::Field, &path.child("properties").key(name), errors);
    }
    if let Some(additional) = additional.filter(|value| value.is_object()) {
        judge(
            additional,
            Level::Field,
            &path.child("additionalProperties"),
            errors,
        );
    }
    match tree::at(schema, &["items"]) {
        Some(items) if items.is_object() => judge(items, Level::Item, &path.child("items"), errors),
        Some(_) => {
            let why = "items must be a schema object and not an array";
            errors.push(FieldError::forbidden(&path.child("items"), why));
        }
        None if kind == "array" && !preserves => {
            errors.push(FieldError::required(&path.child("items"), "must be specified"));
        }
        None => {}
    }
}

/// How the items of a list are told apart.
fn lists(schema: &Value, kind: &str, path: &FieldPath, errors: &mut ErrorList) {
    let keys = tree::list(schema, &["x-kubernetes-list-map-keys"]);
    let keys_path = path.child("x-kubernetes-list-map-keys");
    let list_type = tree::text(schema, &["x-kubernetes-list-type"]);
    let type_path = path.child("x-kubernetes-list-type");
    match list_type {
        "" => {
            if !keys.is_empty() {
                errors.push(FieldError::required(
                    &type_path,
                    "must be map if x-kubernetes-list-map-keys is non-empty",
                ));
            }
            return;
        }
        "atomic" | "set" | "map" => {}
        other => {
            let supported = ["atomic", "set", "map"];
            errors.push(FieldError::not_supported(&type_path, other, &supported));
            return;
        }
    }
    if kind != "array" {
        let why = "must be array if x-kubernetes-list-type is specified";
        let path = path.child("type");
        if kind.is_empty() {
            errors.push(FieldError::required(&path, why));
        } else {
            errors.push(FieldError::invalid(&path, kind, why));
        }
    }
    if list_type != "map" {
        return;
    }
    if keys.is_empty() {
        let why = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(&keys_path, why));
    }
    for (i, key) in keys.iter().filter_map(Value::as_str).enumerate() {
        if tree::at(schema, &["items", "properties", key]).is_none() {
            let why = "entries must all be names of item properties";
            errors.push(FieldError::invalid(&keys_path.index(i), key, why));
        }
    }
}
