//! The `k8s\0` envelope: a `runtime.Unknown` that names the kind of the message inside it.

use super::reader::{Item, Reader};
use super::{ProtobufError, decode as decoding, encode as encoding, writer};
use crate::schema::{GroupVersionKind, Schema};
use serde_json::{Map, Value};

const MAGIC: &[u8; 4] = b"k8s\0";

/// The opened envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown<'b> {
    pub api_version: String,
    pub kind: String,
    pub raw: &'b [u8],
    pub content_type: String,
}

impl Unknown<'_> {
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::from_api_version(&self.api_version, &self.kind)
    }
}

/// Whether the bytes start with the envelope's magic number.
pub fn is_protobuf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Opens the envelope without reading the message.
pub fn open(bytes: &[u8]) -> Result<Unknown<'_>, ProtobufError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NotProtobuf)?;
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let mut unknown = Unknown {
        api_version: String::new(),
        kind: String::new(),
        raw: &[],
        content_type: String::new(),
    };
    let mut reader = Reader::new(body);
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Bytes(meta)) => {
                let mut meta = Reader::new(meta);
                while let Some((number, item)) = meta.next()? {
                    match (number, item) {
                        (1, Item::Bytes(b)) => unknown.api_version = text(b),
                        (2, Item::Bytes(b)) => unknown.kind = text(b),
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(raw)) => unknown.raw = raw,
            (4, Item::Bytes(b)) => unknown.content_type = text(b),
            _ => {}
        }
    }
    Ok(unknown)
}

/// Reads an enveloped built-in object; the value carries `apiVersion` and `kind`.
///
/// # Errors
/// Malformed bytes, a kind without a built-in schema (custom resources have no protobuf form).
pub fn decode(bytes: &[u8]) -> Result<(GroupVersionKind, Value), ProtobufError> {
    let unknown = open(bytes)?;
    let gvk = unknown.gvk();
    let value = decode_unknown(&unknown, &gvk)?;
    Ok((gvk, value))
}

/// Like [`decode`], for requests that know the kind (a body may leave it out).
pub fn decode_as(
    bytes: &[u8],
    default: &GroupVersionKind,
) -> Result<(GroupVersionKind, Value), ProtobufError> {
    let unknown = open(bytes)?;
    let own = unknown.gvk();
    let gvk = if own.kind.is_empty() { default.clone() } else { own };
    let value = decode_unknown(&unknown, &gvk)?;
    Ok((gvk, value))
}

fn decode_unknown(unknown: &Unknown, gvk: &GroupVersionKind) -> Result<Value, ProtobufError> {
    match unknown.content_type.as_str() {
        "" | "application/vnd.kubernetes.protobuf" => {}
        "application/json" => {
            return serde_json::from_slice(unknown.raw).map_err(|e| ProtobufError::Json {
                field: "raw".to_owned(),
                reason: e.to_string(),
            });
        }
        other => return Err(ProtobufError::ContentType(other.to_owned())),
    }
    let object = builtin(gvk)?;
    let mut map = Map::new();
    decoding::message(object.table, object.def, unknown.raw, 0, &mut map)?;
    map.insert("apiVersion".into(), gvk.api_version().into());
    map.insert("kind".into(), gvk.kind.clone().into());
    Ok(Value::Object(map))
}

fn builtin(gvk: &GroupVersionKind) -> Result<crate::ObjectRef<'static>, ProtobufError> {
    crate::schema_for(&gvk.group, &gvk.version, &gvk.kind)
        .and_then(Schema::object)
        .ok_or_else(|| ProtobufError::UnknownKind {
            api_version: gvk.api_version(),
            kind: gvk.kind.clone(),
        })
}

/// Writes an enveloped built-in object, its kind taken from the value.
pub fn encode(value: &Value) -> Result<Vec<u8>, ProtobufError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    encode_as(
        &GroupVersionKind::from_api_version(text("apiVersion"), text("kind")),
        value,
    )
}

/// Writes an enveloped built-in object of a known kind.
pub fn encode_as(gvk: &GroupVersionKind, value: &Value) -> Result<Vec<u8>, ProtobufError> {
    let object = builtin(gvk)?;
    let Value::Object(map) = value else {
        return Err(ProtobufError::Value {
            field: gvk.kind.clone(),
            expected: "an object".to_owned(),
        });
    };
    let mut raw = Vec::with_capacity(512);
    encoding::message(object.table, object.def, map, 0, &mut raw)?;
    Ok(seal(gvk, &raw))
}

/// Puts a message in its envelope.
pub fn seal(gvk: &GroupVersionKind, raw: &[u8]) -> Vec<u8> {
    let mut meta = Vec::with_capacity(64);
    writer::bytes_field(&mut meta, 1, gvk.api_version().as_bytes());
    writer::bytes_field(&mut meta, 2, gvk.kind.as_bytes());
    let mut out = Vec::with_capacity(raw.len() + meta.len() + 24);
    out.extend_from_slice(MAGIC);
    writer::bytes_field(&mut out, 1, &meta);
    writer::bytes_field(&mut out, 2, raw);
    writer::bytes_field(&mut out, 3, b"");
    writer::bytes_field(&mut out, 4, b"");
    out
}

/// One frame of a `application/vnd.kubernetes.protobuf;stream=watch` body: four bytes of big-endian
/// length, then a bare `meta.v1.WatchEvent` around the enveloped object.
pub fn encode_watch_event(event: &str, enveloped: &[u8]) -> Vec<u8> {
    let mut object = Vec::with_capacity(enveloped.len() + 8);
    writer::bytes_field(&mut object, 1, enveloped);
    let mut frame = vec![0; 4];
    writer::bytes_field(&mut frame, 1, event.as_bytes());
    writer::bytes_field(&mut frame, 2, &object);
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}
