//! Strategic merge patch.
//!
//! Lists with a merge strategy are merged by their merge key, or as sets of scalars; directives (`$patch`,
//! `$retainKeys`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…`) steer it.
//!
//! Follows `apimachinery/pkg/util/strategicpatch/patch.go`, `mergeMap` (1.36).

use kubeschema::{Field, Schema, Shape, Strategy};
use serde_json::{Map, Value};

use super::strategic_order::{in_order, order, same_item};
use super::unprocessable;
use crate::status::ApiError;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";
const ORDER_PREFIX: &str = "$setElementOrder/";

type Result<T> = std::result::Result<T, ApiError>;

pub(super) fn apply(current: &Value, patch: Value, schema: Schema<'_>) -> Result<Value> {
    let (Value::Object(current), Value::Object(patch)) = (current.clone(), patch) else {
        return Err(ApiError::bad_request("invalid JSON document"));
    };
    merge_map(current, patch, Some(schema)).map(Value::Object)
}

fn bad(text: impl Into<String>) -> ApiError {
    ApiError::bad_request(text)
}

/// How one field is merged.
#[derive(Clone, Copy, Default)]
struct Rule<'s> {
    schema: Option<Schema<'s>>,
    strategy: Strategy,
    merge_key: Option<&'s str>,
}

fn rule<'s>(schema: Option<Schema<'s>>, name: &str) -> Rule<'s> {
    match schema.map(Schema::shape) {
        Some(Shape::Object(object)) => match object.field(name) {
            Some((field, schema)) => {
                let field: &Field = field;
                Rule {
                    schema: Some(schema),
                    strategy: field.strategy,
                    merge_key: field.merge_key.as_deref(),
                }
            }
            None => Rule::default(),
        },
        Some(Shape::Map { value, .. }) => Rule {
            schema: Some(value),
            ..Rule::default()
        },
        _ => Rule::default(),
    }
}

fn merge_map(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    schema: Option<Schema<'_>>,
) -> Result<Map<String, Value>> {
    if let Some(directive) = patch.remove(PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Map::new()),
            Some("merge") => merge_map(original, patch, schema),
            _ => Err(bad(format!("unknown patch type: {}", shown(&directive)))),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    merge_ordered_lists(&mut original, &mut patch, schema)?;
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE_PREFIX) {
            delete_from_list(&mut original, name, &value)?;
            continue;
        }
        if value.is_null() {
            original.remove(&key);
            continue;
        }
        let rule = rule(schema, &key);
        let merged = match (original.remove(&key), value) {
            (Some(Value::Object(_)), Value::Object(new)) if rule.strategy.replace => Value::Object(new),
            (Some(Value::Object(old)), Value::Object(new)) => {
                Value::Object(merge_map(old, new, rule.schema)?)
            }
            (Some(Value::Array(old)), Value::Array(new)) => Value::Array(merge_list(old, new, rule)?),
            (_, new) => clean(new),
        };
        original.insert(key, merged);
    }
    Ok(original)
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value that is taken over whole: without nulls in maps, and without directives.
fn clean(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(key, value)| !value.is_null() && !is_directive(key))
            .map(|(key, value)| (key, clean(value)))
            .collect(),
        Value::Array(list) => list
            .into_iter()
            .filter(|item| item.get(PATCH).is_none_or(|d| d != "delete"))
            .map(|item| {
                if item.get(PATCH).is_some_and(|d| d == "replace") {
                    Value::Null
                } else {
                    clean(item)
                }
            })
            .filter(|item| !item.is_null())
            .collect(),
        other => other,
    }
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN_KEYS || key.starts_with(DELETE_PREFIX) || key.starts_with(ORDER_PREFIX)
}

fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<()> {
    const BAD: &str = "invalid patch format of retainKeys";
    let Some(list) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let list = list.as_array().ok_or_else(|| bad(BAD))?;
    let kept = |key: &str| list.iter().any(|k| k.as_str() == Some(key));
    let stray = patch
        .iter()
        .any(|(key, value)| !value.is_null() && !is_directive(key) && !kept(key));
    if stray {
        return Err(bad(BAD));
    }
    original.retain(|key, _| kept(key));
    Ok(())
}

fn delete_from_list(original: &mut Map<String, Value>, name: &str, doomed: &Value) -> Result<()> {
    let doomed = doomed
        .as_array()
        .filter(|_| !name.is_empty() && !name.contains('/'))
        .ok_or_else(|| bad("invalid patch format of primitive list"))?;
    if let Some(Value::Array(list)) = original.get_mut(name) {
        list.retain(|item| !doomed.contains(item));
    }
    Ok(())
}

/// Lists with a `$setElementOrder` directive: merged, then put in the order it gives.
fn merge_ordered_lists(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    schema: Option<Schema<'_>>,
) -> Result<()> {
    const BAD: &str = "invalid patch format of setElementOrder list";
    let directives: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(ORDER_PREFIX))
        .cloned()
        .collect();
    for directive in directives {
        let name = &directive[ORDER_PREFIX.len()..];
        let Some(Value::Array(wanted)) = patch.remove(&directive) else {
            return Err(bad(BAD));
        };
        if name.is_empty() || name.contains('/') {
            return Err(bad(BAD));
        }
        let rule = rule(schema, name);
        let key = rule.merge_key;
        let old = as_list(original.get(name).cloned())?;
        let new = match patch.get(name) {
            Some(Value::Null) => continue,
            new => as_list(new.cloned())?,
        };
        if let Some(new) = &new {
            let live: Vec<&Value> = new.iter().filter(|item| item.get(PATCH).is_none()).collect();
            if !in_order(&live, &wanted, key) {
                return Err(bad(format!(
                    "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                    Value::Array(new.clone()),
                    Value::Array(wanted)
                )));
            }
        }
        patch.remove(name);
        let merged = match (old.clone(), new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => match clean(Value::Array(new)) {
                Value::Array(list) => list,
                _ => Vec::new(),
            },
            (Some(old), Some(new)) => merge_list(old, new, rule)?,
        };
        let ordered = order(merged, &wanted, &old.unwrap_or_default(), key);
        original.insert(name.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

fn as_list(value: Option<Value>) -> Result<Option<Vec<Value>>> {
    match value {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(_) => Err(unprocessable()),
    }
}

fn merge_list(original: Vec<Value>, patch: Vec<Value>, rule: Rule<'_>) -> Result<Vec<Value>> {
    if !rule.strategy.merge {
        return Ok(patch);
    }
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    let maps = original
        .iter()
        .chain(&patch)
        .filter(|item| item.is_object())
        .count();
    if original.iter().chain(&patch).any(Value::is_array)
        || (maps != 0 && maps != original.len() + patch.len())
    {
        return Err(unprocessable());
    }
    if maps == 0 {
        let mut merged: Vec<Value> = Vec::new();
        for item in original.iter().chain(&patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(order(merged, &patch, &original, None));
    }
    let item_schema = rule.schema.and_then(Schema::item);
    let Some(key) = rule.merge_key else {
        let name = item_schema.map(Schema::go_type).unwrap_or_default();
        return Err(bad(format!("cannot merge lists without merge key for {name}")));
    };
    let (original, patch) = special_items(original, patch, key)?;
    let mut merged = original.clone();
    for item in &patch {
        let (Some(_), Value::Object(new)) = (item.get(key), item) else {
            return Err(no_merge_key(item, key));
        };
        match merged.iter_mut().find(|old| same_item(old, item, Some(key))) {
            Some(slot) => {
                if let Value::Object(old) = std::mem::take(slot) {
                    *slot = Value::Object(merge_map(old, new.clone(), item_schema)?);
                }
            }
            None => merged.push(clean(item.clone())),
        }
    }
    Ok(order(merged, &patch, &original, Some(key)))
}

fn no_merge_key(item: &Value, key: &str) -> ApiError {
    bad(format!("map: {item} does not contain declared merge key: {key}"))
}

/// Takes `$patch` items out of the patch: deletions are done, a replacement makes the rest of the patch the list.
fn special_items(mut original: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut plain = Vec::new();
    let mut replace = false;
    for item in patch {
        match item.get(PATCH).map(|d| d.as_str().unwrap_or_default()) {
            None => plain.push(item),
            Some("delete") => {
                if item.get(key).is_none() {
                    return Err(no_merge_key(&item, key));
                }
                original.retain(|old| !same_item(old, &item, Some(key)));
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(bad("merging lists cannot yet be specified in the patch")),
            Some(other) => return Err(bad(format!("unknown patch type: {other}"))),
        }
    }
    if replace {
        return Ok((plain, Vec::new()));
    }
    Ok((original, plain))
}
