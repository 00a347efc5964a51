//! Server-side apply, and the field managers of every other write.
//!
//! * [`track_update`] after a create, update or patch: writes `metadata.managedFields` of the new object.
//! * [`apply`] for an apply patch: merges the configuration, removes what the manager no longer applies and nobody
//!   else owns, and refuses to take fields from others unless forced.
//!
//! Both take the schema of the kind; without one it is deduced from the values (maps merge, lists are atomic).
//! Sets of other API versions of the kind are compared as they are, without conversion.
//!
//! Follows `apimachinery/pkg/util/managedfields/internal` and `sigs.k8s.io/structured-merge-diff/v6` (1.36).

mod compare;
mod field_set;
mod last_applied;
mod managed_fields;
mod merge;
mod remove;
mod typed;
mod updater;

use kubeschema::{Presence, Scalar, Schema, Shape};
use quantity::Quantity;
use serde_json::{Map, Value, json};

use crate::field_error::quote;
use crate::field_validation::{Decoded, Target, judge, normalize, parse_yaml};
use crate::status::ApiError;
use crate::tree;

pub use field_set::{FieldSet, PathElement};
use managed_fields::{Managed, ManagerKey};
use updater::{Conflicting, Outcome};

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// the field manager; see [`crate::options::field_manager`]
    pub manager: &'a str,
    /// of the request: `v1`, `apps/v1`
    pub api_version: &'a str,
    /// `status`, `scale`, …; empty for the main resource
    pub subresource: &'a str,
    /// RFC 3339, whole seconds
    pub now: &'a str,
    /// What this endpoint never changes, and so never owns: see [`reset_fields`].
    pub reset: &'a [&'a [&'a str]],
}

/// The fields that a write to an endpoint leaves alone, for resources with a status sub-resource: the status for
/// the main resource, the spec for the status.
pub fn reset_fields(has_status: bool, subresource: &str) -> &'static [&'static [&'static str]] {
    match subresource {
        "" if has_status => &[&["status"]],
        "status" => &[&["spec"]],
        _ => &[],
    }
}

/// Writes the managed fields of `new`, which a create (`live` is `None`), update or patch made from `live`.
/// Both are defaulted and in normal form. Never fails: what cannot be read of old managed fields is dropped.
pub fn track_update(schema: Option<Schema<'_>>, live: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let managed = decode_live_or_new(live, new, writer);
    take_managed_fields(new);
    // After a reset, and for objects nobody tracks, nothing is tracked until the first apply.
    if managed.is_empty() && live.is_some_and(|live| !tree::uid(live).is_empty()) {
        return;
    }
    let mut old = live.cloned().unwrap_or_else(|| empty_object(new));
    take_managed_fields(&mut old);
    let mut managed = managed;
    updater::update(schema, &old, new, &mut managed, writer);
    managed.cap_update_managers();
    managed.write(new);
}

/// The managed fields to start from: those that a write of the main resource brings, else the live ones.
fn decode_live_or_new(live: Option<&Value>, new: &Value, writer: &Writer<'_>) -> Managed {
    let of_live = || live.and_then(|live| Managed::read(live).ok()).unwrap_or_default();
    if !writer.subresource.is_empty() {
        return of_live();
    }
    let given = tree::list(new, &["metadata", "managedFields"]);
    if let [only] = given
        && only.as_object().is_some_and(Map::is_empty)
    {
        return Managed::default();
    }
    match Managed::read(new) {
        Ok(managed) if !managed.is_empty() => managed,
        _ => of_live(),
    }
}

fn take_managed_fields(object: &mut Value) -> Option<Value> {
    tree::remove(object, &["metadata", "managedFields"])
}

fn empty_object(of: &Value) -> Value {
    json!({
        "apiVersion": of.get("apiVersion").cloned().unwrap_or_default(),
        "kind": of.get("kind").cloned().unwrap_or_default(),
        "metadata": {},
    })
}

/// A copy with the plain structs and lists that a typed object always prints (`spec: {}`, `containers: null`), so
/// that they never count as added.
fn filled(value: &Value, schema: Option<Schema<'_>>) -> Value {
    let mut copy = value.clone();
    if let Some(schema) = schema {
        fill_structs(&mut copy, schema);
    }
    copy
}

fn fill_structs(value: &mut Value, schema: Schema<'_>) {
    match (schema.shape(), value) {
        (Shape::Object(object), Value::Object(map)) => {
            for (field, schema) in object.fields() {
                if field.presence == Presence::Always && !map.contains_key(field.json.as_ref()) {
                    let printed = match schema.shape() {
                        Shape::Object(_) => Value::Object(Map::new()),
                        Shape::List { .. } | Shape::Map { .. } => Value::Null,
                        _ => continue,
                    };
                    map.insert(field.json.to_string(), printed);
                }
                if let Some(inner) = map.get_mut(field.json.as_ref()) {
                    fill_structs(inner, schema);
                }
            }
        }
        (Shape::List { item, .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|entry| fill_structs(entry, item));
        }
        (Shape::Map { value: inner, .. }, Value::Object(map)) => {
            map.values_mut().for_each(|entry| fill_structs(entry, inner));
        }
        _ => {}
    }
}

/// Reads the body of an apply patch (YAML, of which JSON is a part): an applied configuration is kept as it is
/// written, without the normal form.
///
/// # Errors
/// 400 for text that does not parse, repeated fields, and with strict validation unknown fields; 500 (as upstream)
/// for unknown fields otherwise.
pub fn decode_configuration(body: &[u8], target: Target<'_>) -> Result<Decoded, ApiError> {
    let parsed = parse_yaml(body, None).map_err(|e| ApiError::bad_request(e.to_string()))?;
    if let Some(first) = parsed.problems.first() {
        return Err(ApiError::bad_request(format!("error decoding YAML: {first}")));
    }
    if !parsed.value.is_object() {
        return Err(ApiError::bad_request(
            "error decoding YAML: the object is not a map",
        ));
    }
    let warnings = judge(&parsed.problems, target.validation).map_err(ApiError::bad_request)?;
    Ok(Decoded {
        value: parsed.value,
        warnings,
    })
}

/// Applies a configuration (from [`decode_configuration`]) to the live object, or to none. The outcome is in
/// normal form; defaulting, admission and validation come after it. When it equals `live` nothing is to be written.
///
/// # Errors
/// 400 for a configuration of another kind or with managed fields, 409 for conflicts, 500 (as upstream) for a
/// configuration that does not fit the schema.
pub fn apply(
    schema: Option<Schema<'_>>,
    live: Option<&Value>,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApiError> {
    check_configuration(schema, live, config, writer)?;
    let mut settled = config.clone();
    if let Some(schema) = schema {
        settle(&mut settled, schema);
    }
    let config = &settled;
    let mut managed = match live {
        Some(live) => Managed::read(live)
            .map_err(|e| ApiError::internal(format!("failed to decode managed fields: {e}")))?,
        None => Managed::default(),
    };
    let mut live_object = live.cloned().unwrap_or_else(|| empty_object(config));
    take_managed_fields(&mut live_object);
    if managed.is_empty() && live.is_some() {
        let before = Writer {
            manager: "before-first-apply",
            ..*writer
        };
        let empty = empty_object(&live_object);
        updater::update(schema, &empty, &live_object, &mut managed, &before);
    }
    let mut outcome = updater::apply(schema, &live_object, config, &managed, writer, force);
    if let Err(Conflicting(conflicts)) = &outcome
        && writer.manager == "kubectl"
    {
        let conflicts = conflicts.clone();
        let left = last_applied::without_allowed(schema, &live_object, conflicts, writer.api_version);
        outcome = if left.is_empty() {
            updater::apply(schema, &live_object, config, &managed, writer, true)
        } else {
            Err(Conflicting(left))
        };
    }
    let Outcome {
        mut object,
        mut managed,
    } = outcome.map_err(Conflicting::into_api_error)?;
    if writer.manager == "kubectl" {
        last_applied::refresh(&mut object, &live_object, config);
    }
    if let Some(schema) = schema {
        normalize(&mut object, schema).map_err(|e| {
            ApiError::internal(format!(
                "failed to convert new object ({}) to proper version: {e}",
                shown(config)
            ))
        })?;
    }
    managed.set_time(&ManagerKey::applier(writer), writer.now, object != live_object);
    managed.write(&mut object);
    Ok(object)
}

/// Brings what only looks different from the live object, which is in normal form, to the same form: otherwise it
/// would count as a change at every apply, and as a conflict with managers that applied the very same.
///
/// `creationTimestamp: null` and its like, which generated manifests carry, mean nothing; `0.5` is `500m`.
fn settle(value: &mut Value, schema: Schema<'_>) {
    match (schema.shape(), value) {
        (Shape::Object(object), Value::Object(map)) => map.retain(|key, value| {
            let Some((_, schema)) = object.field(key) else {
                return true;
            };
            settle(value, schema);
            let time = matches!(schema.shape(), Shape::Scalar(Scalar::Time | Scalar::MicroTime));
            !(time && value.is_null())
        }),
        (Shape::List { item, .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|entry| settle(entry, item));
        }
        (Shape::Map { value: inner, .. }, Value::Object(map)) => {
            map.values_mut().for_each(|entry| settle(entry, inner));
        }
        (Shape::Scalar(Scalar::Quantity), value @ (Value::String(_) | Value::Number(_))) => {
            if let Ok(quantity) = Quantity::from_value(value) {
                *value = Value::String(quantity.to_string());
            }
        }
        _ => {}
    }
}

fn check_configuration(
    schema: Option<Schema<'_>>,
    live: Option<&Value>,
    config: &Value,
    writer: &Writer<'_>,
) -> Result<(), ApiError> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("apiVersion") != writer.api_version {
        return Err(ApiError::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
            text("apiVersion"),
            writer.api_version
        )));
    }
    let live_kind = live.and_then(|live| live.get("kind")).and_then(Value::as_str);
    let kinds = schema
        .and_then(Schema::object)
        .map(|object| object.def.kinds.as_slice())
        .unwrap_or_default();
    let known = kinds.is_empty() || kinds.iter().any(|known| known.kind == text("kind"));
    if live_kind.is_some_and(|kind| kind != text("kind")) || !known {
        return Err(ApiError::bad_request(format!(
            "invalid object type: {}, Kind={}",
            text("apiVersion"),
            text("kind")
        )));
    }
    if tree::at(config, &["metadata", "managedFields"]).is_some() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    if let Some(schema) = schema {
        typed::check(config, schema, &mut String::new()).map_err(|why| {
            plain_error(format!(
                "failed to create typed patch object ({}): {why}",
                shown(config)
            ))
        })?;
    }
    Ok(())
}

/// An error that upstream has no reason for: 500 with its bare text.
fn plain_error(message: String) -> ApiError {
    ApiError::new(500, crate::status::Reason::Unknown, message)
}

/// `namespace/name; group/version, Kind=Kind`
fn shown(object: &Value) -> String {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    format!(
        "{}/{}; {}, Kind={}",
        tree::namespace(object),
        tree::name(object),
        text("apiVersion"),
        text("kind")
    )
}

/// `"manager" with subresource "status" using apps/v1`
fn shown_manager(key: &ManagerKey) -> String {
    let mut text = quote(&key.manager);
    if !key.subresource.is_empty() {
        text.push_str(&format!(" with subresource {}", quote(&key.subresource)));
    }
    if key.operation == "Update" {
        text.push_str(&format!(" using {}", key.api_version));
    }
    text
}

#[cfg(test)]
mod tests;
