//! JSON patch (RFC 6902), with the limits and leniences of the library that upstream uses
//! (`evanphx/json-patch`): negative indices, a `test` for `null` that a missing field passes.

use serde_json::Value;

use super::unprocessable;
use crate::status::ApiError;

/// `maxJSONPatchOperations` upstream.
const MAX_OPERATIONS: usize = 10_000;
/// Bytes that `copy` operations may add in all; the request limit of upstream.
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

pub(super) fn apply(patch: &[u8], current: &Value) -> Result<Value, ApiError> {
    let operations: Value =
        serde_json::from_slice(patch).map_err(|e| ApiError::bad_request(e.to_string()))?;
    let Value::Array(operations) = operations else {
        return Err(ApiError::bad_request(
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(ApiError::request_entity_too_large(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut document = current.clone();
    let mut copied = 0;
    for operation in &operations {
        step(&mut document, operation, &mut copied).ok_or_else(unprocessable)?;
        if copied > MAX_COPIED_BYTES {
            return Err(unprocessable());
        }
    }
    Ok(document)
}

/// One operation; `None` when it does not apply.
fn step(document: &mut Value, operation: &Value, copied: &mut usize) -> Option<()> {
    let path = pointer(operation.get("path")?.as_str()?)?;
    let value = || operation.get("value").cloned();
    match operation.get("op")?.as_str()? {
        "add" => add(document, &path, value()?),
        "remove" => remove(document, &path).map(drop),
        "replace" => {
            *find(document, &path)? = value()?;
            Some(())
        }
        "move" => {
            let from = pointer(operation.get("from")?.as_str()?)?;
            let moved = remove(document, &from)?;
            add(document, &path, moved)
        }
        "copy" => {
            let from = pointer(operation.get("from")?.as_str()?)?;
            let found = find(document, &from)?.clone();
            *copied += found.to_string().len();
            add(document, &path, found)
        }
        "test" => {
            let expected = value().unwrap_or(Value::Null);
            let same = match find(document, &path) {
                Some(found) => equal(found, &expected),
                None => expected.is_null(),
            };
            same.then_some(())
        }
        _ => None,
    }
}

fn pointer(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let parts = text.strip_prefix('/')?.split('/');
    Some(
        parts
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect(),
    )
}

fn find<'d>(document: &'d mut Value, path: &[String]) -> Option<&'d mut Value> {
    path.iter().try_fold(document, |at, part| match at {
        Value::Object(map) => map.get_mut(part),
        Value::Array(list) => {
            let i = index(part, list.len())?;
            list.get_mut(i)
        }
        _ => None,
    })
}

/// An index into a list; negative ones count from the end.
fn index(part: &str, length: usize) -> Option<usize> {
    match part.strip_prefix('-') {
        Some(back) => length.checked_sub(back.parse().ok()?),
        None => part
            .parse()
            .ok()
            .filter(|_| part.bytes().all(|b| b.is_ascii_digit())),
    }
}

fn add(document: &mut Value, path: &[String], value: Value) -> Option<()> {
    let Some((last, parents)) = path.split_last() else {
        *document = value;
        return Some(());
    };
    match find(document, parents)? {
        Value::Object(map) => {
            map.insert(last.clone(), value);
        }
        Value::Array(list) => {
            let at = if last == "-" {
                list.len()
            } else {
                // A negative index counts from the end of the list that has the new item.
                index(last, list.len() + usize::from(last.starts_with('-')))?
            };
            if at > list.len() {
                return None;
            }
            list.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(document: &mut Value, path: &[String]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    match find(document, parents)? {
        Value::Object(map) => map.remove(last),
        Value::Array(list) => {
            let at = index(last, list.len()).filter(|at| *at < list.len())?;
            Some(list.remove(at))
        }
        _ => None,
    }
}

/// Equality of JSON: `1` and `1.0` are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}
