//! Reading and writing object trees (`serde_json::Value`).
//!
//! Reads are forgiving: a missing field and a field of another type read as absent, as the zero value would in
//! a typed object. Shape errors are reported earlier, by schema validation.

use serde_json::{Map, Value};

/// The value at a path of object fields, or `None`.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(value, |value, field| value.get(field))
        .filter(|value| !value.is_null())
}

/// The string at a path; empty when absent.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or("")
}

/// The integer at a path.
pub fn int(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

/// The boolean at a path; false when absent.
pub fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The list at a path; empty when absent.
pub fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The list at a path, to change its items; empty when absent.
pub fn list_mut<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut [Value] {
    at_mut(value, path)
        .and_then(Value::as_array_mut)
        .map_or(&mut [], Vec::as_mut_slice)
}

/// The map at a path.
pub fn map<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Map<String, Value>> {
    at(value, path).and_then(Value::as_object)
}

/// The entries of a string map at a path; entries that are not strings are skipped.
pub fn strings<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    map(value, path)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// The value at a path, to change it, or `None`.
pub fn at_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter()
        .try_fold(value, |value, field| value.get_mut(field))
        .filter(|value| !value.is_null())
}

/// The object at a path, made (with its parents) when it is absent or not an object.
pub fn ensure_map<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let mut current = value;
    for field in path {
        current = object_of(current)
            .entry(*field)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    object_of(current)
}

fn object_of(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("was made an object above")
}

/// Sets the value at a path, making its parents.
pub fn set(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    ensure_map(value, parents).insert((*last).to_owned(), new.into());
}

/// Sets the value at a path if nothing is there (a null counts as nothing); parents must exist already.
pub fn set_default(value: &mut Value, field: &str, new: impl Into<Value>) {
    if let Some(map) = value.as_object_mut()
        && map.get(field).is_none_or(Value::is_null)
    {
        map.insert(field.to_owned(), new.into());
    }
}

/// Sets a string field if it is absent, null or the empty string.
pub fn set_default_text(value: &mut Value, field: &str, new: &str) {
    if let Some(map) = value.as_object_mut()
        && map
            .get(field)
            .is_none_or(|old| old.is_null() || old.as_str() == Some(""))
    {
        map.insert(field.to_owned(), new.into());
    }
}

/// Removes and returns the value at a path.
pub fn remove(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut current = value;
    for field in parents {
        current = current.get_mut(field)?;
    }
    current.as_object_mut()?.remove(*last)
}

/// Makes the field of `new` the same as in `old`: copied when there, removed when not.
pub fn restore(new: &mut Value, old: &Value, path: &[&str]) {
    match at(old, path) {
        Some(value) => set(new, path, value.clone()),
        None => drop(remove(new, path)),
    }
}

/// Two optional values are the same when absent, null and empty are taken as one ("semantic equality" upstream).
pub fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a.filter(|v| !is_empty(v)), b.filter(|v| !is_empty(v))) {
        (None, None) => true,
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.iter().all(|(key, value)| same(Some(value), b.get(key)))
                && b.iter()
                    .all(|(key, value)| a.contains_key(key) || is_empty(value))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// Null, an empty list, an empty map.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

pub fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

pub fn resource_version(object: &Value) -> &str {
    text(object, &["metadata", "resourceVersion"])
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "annotations", key]).and_then(Value::as_str)
}

pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "labels", key]).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_read_write_and_restore() {
        let mut object = json!({"spec": {"a": 1, "n": null}});
        assert_eq!(int(&object, &["spec", "a"]), Some(1));
        assert!(at(&object, &["spec", "n"]).is_none());
        set(&mut object, &["status", "phase"], "Active");
        assert_eq!(text(&object, &["status", "phase"]), "Active");
        restore(&mut object, &json!({"spec": {"a": 2}}), &["spec"]);
        assert_eq!(object["spec"], json!({"a": 2}));
        restore(&mut object, &json!({}), &["status"]);
        assert!(object.get("status").is_none());
    }

    #[test]
    fn absent_null_and_empty_are_the_same() {
        assert!(same(
            Some(&json!({"a": [], "b": 1})),
            Some(&json!({"b": 1, "c": null}))
        ));
        assert!(!same(Some(&json!({"a": ""})), Some(&json!({}))));
        assert!(same(None, Some(&json!({}))));
        assert!(!same(Some(&json!([1])), None));
    }
}
