//! JSON merge patch (RFC 7386).

use serde_json::{Map, Value};

use crate::status::ApiError;

pub(super) fn apply(document: &mut Value, patch: Value) -> Result<(), ApiError> {
    if !patch.is_object() {
        return Err(ApiError::bad_request("Invalid JSON Patch"));
    }
    merge(document, patch);
    Ok(())
}

fn merge(document: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *document = patch;
        return;
    };
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    if let Value::Object(map) = document {
        for (key, value) in patch {
            if value.is_null() {
                map.remove(&key);
            } else {
                merge(map.entry(key).or_insert(Value::Null), value);
            }
        }
    }
}
