//! Reading fields of an object tree by JSON pointer, with the blanks that printing wants.

use serde_json::Value;

/// What an absent value prints as.
pub const NONE: &str = "<none>";
pub const UNSET: &str = "<unset>";
pub const UNKNOWN: &str = "<unknown>";

pub fn name(object: &Value) -> Value {
    Value::from(text(object, "/metadata/name"))
}

/// The text at `pointer`; empty when there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The text at `pointer`, or `blank` when it is absent or empty.
pub fn text_or<'a>(object: &'a Value, pointer: &str, blank: &'a str) -> &'a str {
    match text(object, pointer) {
        "" => blank,
        found => found,
    }
}

pub fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

pub fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Keys and values of the map at `pointer`, in key order.
pub fn entries<'a>(object: &'a Value, pointer: &str) -> Vec<(&'a str, &'a Value)> {
    let map = object.pointer(pointer).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
        .collect()
}

pub fn size(object: &Value, pointer: &str) -> i64 {
    match object.pointer(pointer) {
        Some(Value::Object(map)) => i64::try_from(map.len()).unwrap_or(i64::MAX),
        Some(Value::Array(items)) => i64::try_from(items.len()).unwrap_or(i64::MAX),
        _ => 0,
    }
}

/// A scalar as people write it: text without quotes, numbers as they are.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `a,b`, or `<none>` when there is nothing.
pub fn joined<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let mut out = String::new();
    for item in items {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(item.as_ref());
    }
    if out.is_empty() { NONE.to_owned() } else { out }
}

/// `k=v,k=v` of the map at `pointer`, or `<none>`.
pub fn labels(object: &Value, pointer: &str) -> String {
    joined(
        entries(object, pointer)
            .into_iter()
            .map(|(key, value)| format!("{key}={}", plain(value))),
    )
}

/// A `LabelSelector` in kubectl's text form, or `<none>`.
pub fn label_selector(object: &Value, pointer: &str) -> String {
    let Some(selector) = object.pointer(pointer) else {
        return NONE.to_owned();
    };
    let equals = entries(selector, "/matchLabels")
        .into_iter()
        .map(|(k, v)| format!("{k}={}", plain(v)));
    let expressions = list(selector, "/matchExpressions").iter().map(|e| {
        let key = text(e, "/key");
        let values = list(e, "/values").iter().map(plain).collect::<Vec<_>>().join(",");
        match text(e, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        }
    });
    joined(equals.chain(expressions))
}

/// Names and images of the containers of a pod spec at `pointer`.
pub fn containers(object: &Value, pointer: &str) -> (String, String) {
    let containers = list(object, pointer);
    let column = |field: &str| {
        containers
            .iter()
            .map(|c| text(c, field))
            .collect::<Vec<_>>()
            .join(",")
    };
    (column("/name"), column("/image"))
}

/// The status of a condition, when it is there.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let found = list(object, "/status/conditions")
        .iter()
        .find(|c| text(c, "/type") == kind)?;
    Some(text(found, "/status"))
}
