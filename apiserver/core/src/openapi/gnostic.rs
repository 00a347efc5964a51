//! An OpenAPI v2 document as protobuf: the `openapi.v2.Document` message of gnostic.
//!
//! Written from the JSON tree by small tables of field numbers; what the tables do not name is left out. Free-form
//! values (`default`, extensions) are YAML texts, of which JSON is one.

use serde_json::{Map, Value};

type Object = Map<String, Value>;

pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(document) = document.as_object() else {
        return out;
    };
    text(&mut out, 1, document.get("swagger"));
    object(&mut out, 2, document.get("info"), |out, info| {
        text(out, 1, info.get("title"));
        text(out, 2, info.get("version"));
    });
    object(&mut out, 8, document.get("paths"), |out, paths| {
        for (name, item) in paths {
            named(out, 2, name, |out| {
                if let Some(item) = item.as_object() {
                    path_item(out, item);
                }
            });
        }
    });
    object(&mut out, 9, document.get("definitions"), named_schemas);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn message(out: &mut Vec<u8>, number: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    body(&mut inner);
    bytes(out, number, &inner);
}

fn object(out: &mut Vec<u8>, number: u32, value: Option<&Value>, body: impl FnOnce(&mut Vec<u8>, &Object)) {
    if let Some(Value::Object(map)) = value {
        message(out, number, |out| body(out, map));
    }
}

fn text(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    if let Some(Value::String(text)) = value {
        bytes(out, number, text.as_bytes());
    }
}

fn texts(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    for item in value.and_then(Value::as_array).into_iter().flatten() {
        text(out, number, Some(item));
    }
}

fn flag(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    if value.and_then(Value::as_bool) == Some(true) {
        varint(out, u64::from(number) << 3);
        out.push(1);
    }
}

fn integer(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    if let Some(value) = value.and_then(Value::as_i64) {
        varint(out, u64::from(number) << 3);
        varint(out, value as u64);
    }
}

fn float(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    if let Some(value) = value.and_then(Value::as_f64) {
        varint(out, u64::from(number) << 3 | 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// `{1: name, 2: value}`
fn named(out: &mut Vec<u8>, number: u32, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    message(out, number, |out| {
        bytes(out, 1, name.as_bytes());
        message(out, 2, value);
    });
}

/// An `Any`: `{2: yaml}`
fn any(out: &mut Vec<u8>, value: &Value) {
    bytes(out, 2, value.to_string().as_bytes());
}

fn extensions(out: &mut Vec<u8>, number: u32, map: &Object) {
    for (name, value) in map.iter().filter(|(name, _)| name.starts_with("x-")) {
        named(out, number, name, |out| any(out, value));
    }
}

fn path_item(out: &mut Vec<u8>, item: &Object) {
    let methods = [
        ("get", 2),
        ("put", 3),
        ("post", 4),
        ("delete", 5),
        ("options", 6),
        ("head", 7),
        ("patch", 8),
    ];
    for (method, number) in methods {
        object(out, number, item.get(method), operation);
    }
    parameters(out, 9, item.get("parameters"));
}

fn operation(out: &mut Vec<u8>, operation: &Object) {
    texts(out, 1, operation.get("tags"));
    text(out, 3, operation.get("description"));
    text(out, 5, operation.get("operationId"));
    texts(out, 6, operation.get("produces"));
    texts(out, 7, operation.get("consumes"));
    parameters(out, 8, operation.get("parameters"));
    object(out, 9, operation.get("responses"), |out, responses| {
        for (code, response) in responses {
            named(out, 1, code, |out| object(out, 1, Some(response), answer));
        }
    });
    texts(out, 10, operation.get("schemes"));
    extensions(out, 13, operation);
}

fn answer(out: &mut Vec<u8>, response: &Object) {
    text(out, 1, response.get("description"));
    if let Some(Value::Object(map)) = response.get("schema") {
        message(out, 2, |out| message(out, 1, |out| schema(out, map)));
    }
}

fn parameters(out: &mut Vec<u8>, number: u32, list: Option<&Value>) {
    for parameter in list.and_then(Value::as_array).into_iter().flatten() {
        let Some(map) = parameter.as_object() else {
            continue;
        };
        // ParametersItem.parameter = 1
        message(out, number, |out| {
            message(out, 1, |out| match map.get("in").and_then(Value::as_str) {
                Some("body") => message(out, 1, |out| {
                    text(out, 2, map.get("name"));
                    text(out, 3, map.get("in"));
                    flag(out, 4, map.get("required"));
                    object(out, 5, map.get("schema"), schema);
                }),
                Some("path") => message(out, 2, |out| {
                    message(out, 4, |out| simple_parameter(out, map, 5, 19))
                }),
                _ => message(out, 2, |out| {
                    message(out, 3, |out| simple_parameter(out, map, 6, 20))
                }),
            });
        });
    }
}

/// Path and query parameters differ in two numbers only.
fn simple_parameter(out: &mut Vec<u8>, map: &Object, type_number: u32, unique_number: u32) {
    flag(out, 1, map.get("required"));
    text(out, 2, map.get("in"));
    text(out, 3, map.get("description"));
    text(out, 4, map.get("name"));
    text(out, type_number, map.get("type"));
    flag(out, unique_number, map.get("uniqueItems"));
}

fn named_schemas(out: &mut Vec<u8>, schemas: &Object) {
    for (name, value) in schemas {
        named(out, 1, name, |out| {
            if let Some(map) = value.as_object() {
                schema(out, map);
            }
        });
    }
}

fn schema(out: &mut Vec<u8>, map: &Object) {
    text(out, 1, map.get("$ref"));
    text(out, 2, map.get("format"));
    text(out, 3, map.get("title"));
    text(out, 4, map.get("description"));
    if let Some(default) = map.get("default") {
        message(out, 5, |out| any(out, default));
    }
    float(out, 6, map.get("multipleOf"));
    float(out, 7, map.get("maximum"));
    flag(out, 8, map.get("exclusiveMaximum"));
    float(out, 9, map.get("minimum"));
    flag(out, 10, map.get("exclusiveMinimum"));
    integer(out, 11, map.get("maxLength"));
    integer(out, 12, map.get("minLength"));
    text(out, 13, map.get("pattern"));
    integer(out, 14, map.get("maxItems"));
    integer(out, 15, map.get("minItems"));
    flag(out, 16, map.get("uniqueItems"));
    integer(out, 17, map.get("maxProperties"));
    integer(out, 18, map.get("minProperties"));
    texts(out, 19, map.get("required"));
    for value in map.get("enum").and_then(Value::as_array).into_iter().flatten() {
        message(out, 20, |out| any(out, value));
    }
    match map.get("additionalProperties") {
        Some(Value::Object(inner)) => message(out, 21, |out| message(out, 1, |out| schema(out, inner))),
        Some(Value::Bool(true)) => message(out, 21, |out| out.extend_from_slice(&[2 << 3, 1])),
        _ => {}
    }
    if map.get("type").is_some_and(Value::is_string) {
        message(out, 22, |out| text(out, 1, map.get("type")));
    }
    if let Some(Value::Object(items)) = map.get("items") {
        message(out, 23, |out| message(out, 1, |out| schema(out, items)));
    }
    object(out, 25, map.get("properties"), named_schemas);
    extensions(out, 31, map);
}
