//! Protobuf messages to JSON values.

use super::reader::{Item, Reader};
use super::{MAX_DEPTH, ProtobufError, scalars};
use crate::schema::{AnyKind, Field, Presence, Scalar, Table, Type, TypeDef, WireTarget};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

type Result<T> = std::result::Result<T, ProtobufError>;

/// Adds the fields of one message to `out`.
pub(super) fn message(
    table: &Table,
    def: &TypeDef,
    bytes: &[u8],
    depth: usize,
    out: &mut Map<String, Value>,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::TooDeep);
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, item)) = reader.next()? {
        let Ok(at) = def.wire.binary_search_by_key(&number, |w| w.number) else {
            continue;
        };
        match (&def.wire[at].target, &item) {
            (WireTarget::Inline(id), Item::Bytes(nested)) => {
                message(table, table.def(*id), nested, depth + 1, out)?
            }
            (WireTarget::Inline(_), item) => return Err(wrong_wire(&def.name, item)),
            (WireTarget::Field(at), item) => field(table, &def.fields[*at], item, depth, out)?,
        }
    }
    Ok(())
}

fn wrong_wire(field: &str, item: &Item) -> ProtobufError {
    ProtobufError::WireType {
        field: field.to_owned(),
        wire: item.wire(),
    }
}

fn field(
    table: &Table,
    field: &Field,
    item: &Item,
    depth: usize,
    out: &mut Map<String, Value>,
) -> Result<()> {
    match &field.ty {
        Type::List { wrapped: true, .. } => {
            let items = wrapped_strings(&field.json, item)?;
            out.insert(field.json.to_string(), items);
        }
        Type::List { item: inner, .. } => {
            let list = out
                .entry(field.json.as_ref())
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list_item(table, &field.json, inner, item, depth, list)?;
            }
        }
        Type::Map { value: inner, .. } => {
            let Item::Bytes(entry) = item else {
                return Err(wrong_wire(&field.json, item));
            };
            let (key, value) = map_entry(table, &field.json, inner, entry, depth)?;
            let map = out
                .entry(field.json.as_ref())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = map {
                map.insert(key, value);
            }
        }
        ty => {
            if let Some(value) = value(table, &field.json, ty, item, depth)? {
                if field.presence != Presence::NonZero || !zero(ty, &value) {
                    out.insert(field.json.to_string(), value);
                } else {
                    out.remove(field.json.as_ref());
                }
            }
        }
    }
    Ok(())
}

/// Only plain scalars are left out: int-or-string is a struct in Go, which is always written.
fn zero(ty: &Type, value: &Value) -> bool {
    match value {
        _ if matches!(ty, Type::Scalar(Scalar::IntOrString)) => false,
        Value::Bool(b) => !b,
        Value::String(s) => s.is_empty(),
        Value::Number(n) => n.as_i64() == Some(0),
        _ => false,
    }
}

fn list_item(
    table: &Table,
    name: &str,
    inner: &Type,
    item: &Item,
    depth: usize,
    list: &mut Vec<Value>,
) -> Result<()> {
    let packable = matches!(
        inner,
        Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool | Scalar::Double)
    );
    match item {
        Item::Bytes(packed) if packable => {
            let mut reader = Reader::new(packed);
            if matches!(inner, Type::Scalar(Scalar::Double)) {
                while let Some(raw) = reader.next_fixed64()? {
                    list.extend(value(table, name, inner, &Item::Fixed64(raw), depth)?);
                }
            } else {
                while let Some(raw) = reader.next_varint()? {
                    list.extend(value(table, name, inner, &Item::Varint(raw), depth)?);
                }
            }
        }
        item => list.push(value(table, name, inner, item, depth)?.unwrap_or(Value::Null)),
    }
    Ok(())
}

fn map_entry(table: &Table, name: &str, inner: &Type, entry: &[u8], depth: usize) -> Result<(String, Value)> {
    let (mut key, mut found) = (String::new(), None);
    let mut reader = Reader::new(entry);
    while let Some((number, item)) = reader.next()? {
        match (number, &item) {
            (1, Item::Bytes(bytes)) => key = String::from_utf8_lossy(bytes).into_owned(),
            (2, item) => found = Some(value(table, name, inner, item, depth)?.unwrap_or(Value::Null)),
            _ => {}
        }
    }
    let value = match found {
        Some(value) => value,
        None => value(table, name, inner, &empty_item(inner), depth)?.unwrap_or(Value::Null),
    };
    Ok((key, value))
}

fn empty_item(ty: &Type) -> Item<'static> {
    match ty {
        Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool) => Item::Varint(0),
        Type::Scalar(Scalar::Double) => Item::Fixed64(0),
        _ => Item::Bytes(&[]),
    }
}

/// `{1: repeated string}`
fn wrapped_strings(name: &str, item: &Item) -> Result<Value> {
    let Item::Bytes(bytes) = item else {
        return Err(wrong_wire(name, item));
    };
    let mut list = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, item)) = reader.next()? {
        if let (1, Item::Bytes(text)) = (number, item) {
            list.push(Value::String(String::from_utf8_lossy(text).into_owned()));
        }
    }
    Ok(Value::Array(list))
}

/// One value; `None` is a value that JSON leaves out whatever its field says (the zero time).
fn value(table: &Table, name: &str, ty: &Type, item: &Item, depth: usize) -> Result<Option<Value>> {
    Ok(match (ty, item) {
        (Type::Scalar(Scalar::String), Item::Bytes(b)) => {
            Some(String::from_utf8_lossy(b).into_owned().into())
        }
        (Type::Scalar(Scalar::Int32), Item::Varint(v)) => Some((*v as i32).into()),
        (Type::Scalar(Scalar::Int64), Item::Varint(v)) => Some((*v as i64).into()),
        (Type::Scalar(Scalar::Bool), Item::Varint(v)) => Some((*v != 0).into()),
        (Type::Scalar(Scalar::Double), Item::Fixed64(v)) => scalars::float(f64::from_bits(*v)),
        (Type::Scalar(Scalar::Bytes), Item::Bytes(b)) => Some(STANDARD.encode(b).into()),
        (Type::Scalar(Scalar::Quantity), Item::Bytes(b)) => Some(scalars::read_quantity(b)?),
        (Type::Scalar(Scalar::IntOrString), Item::Bytes(b)) => Some(scalars::read_int_or_string(b)?),
        (Type::Scalar(Scalar::Time), Item::Bytes(b)) => scalars::read_time(b, false)?,
        (Type::Scalar(Scalar::MicroTime), Item::Bytes(b)) => scalars::read_time(b, true)?,
        (Type::Scalar(Scalar::Duration), Item::Bytes(b)) => Some(scalars::read_duration(b)?),
        (Type::Any(kind), Item::Bytes(b)) => any(*kind, name, b, depth)?,
        (Type::List { wrapped: true, .. }, item) => Some(wrapped_strings(name, item)?),
        (Type::List { item: inner, .. }, item) => {
            let mut list = Vec::new();
            list_item(table, name, inner, item, depth + 1, &mut list)?;
            Some(Value::Array(list))
        }
        (Type::Map { .. }, Item::Bytes(_)) => None,
        (Type::Object { id, .. }, Item::Bytes(b)) => {
            let mut map = Map::new();
            message(table, table.def(*id), b, depth + 1, &mut map)?;
            Some(Value::Object(map))
        }
        (Type::Builtin { id, .. }, Item::Bytes(b)) => {
            let (builtin, mut map) = (crate::builtin(), Map::new());
            message(builtin, builtin.def(*id), b, depth + 1, &mut map)?;
            Some(Value::Object(map))
        }
        (_, item) => return Err(wrong_wire(name, item)),
    })
}

/// Free-form parts: a message with JSON bytes in field 1, or a choice of schema, list and boolean.
fn any(kind: AnyKind, name: &str, bytes: &[u8], depth: usize) -> Result<Option<Value>> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::TooDeep);
    }
    let builtin = crate::builtin();
    let schema = || {
        builtin
            .names
            .get("apiextensions.v1.JSONSchemaProps")
            .map(|id| builtin.def(*id))
    };
    let (mut raw, mut nested, mut list, mut flag): (&[u8], _, _, _) = (&[], None, Vec::new(), None);
    let mut reader = Reader::new(bytes);
    while let Some((number, item)) = reader.next()? {
        match (kind, number, &item) {
            (AnyKind::RawExtension | AnyKind::FieldsV1 | AnyKind::Json, 1, Item::Bytes(b)) => raw = b,
            (AnyKind::SchemaOrArray | AnyKind::SchemaOrStrings, 1, Item::Bytes(b))
            | (AnyKind::SchemaOrBool, 2, Item::Bytes(b)) => {
                let mut map = Map::new();
                if let Some(def) = schema() {
                    message(builtin, def, b, depth + 1, &mut map)?;
                }
                nested = Some(Value::Object(map));
            }
            (AnyKind::SchemaOrArray, 2, Item::Bytes(b)) => {
                let mut map = Map::new();
                if let Some(def) = schema() {
                    message(builtin, def, b, depth + 1, &mut map)?;
                }
                list.push(Value::Object(map));
            }
            (AnyKind::SchemaOrStrings, 2, Item::Bytes(b)) => {
                list.push(Value::String(String::from_utf8_lossy(b).into_owned()));
            }
            (AnyKind::SchemaOrBool, 1, Item::Varint(v)) => flag = Some(*v != 0),
            _ => {}
        }
    }
    Ok(match kind {
        AnyKind::SchemaOrArray | AnyKind::SchemaOrStrings => Some(nested.unwrap_or(Value::Array(list))),
        AnyKind::SchemaOrBool => Some(nested.unwrap_or(Value::Bool(flag.unwrap_or_default()))),
        AnyKind::RawExtension if super::is_protobuf(raw) => {
            if depth > 8 {
                return Err(ProtobufError::TooDeep);
            }
            Some(super::decode(raw)?.1)
        }
        _ if raw.is_empty() => None,
        _ => Some(serde_json::from_slice(raw).map_err(|e| ProtobufError::Json {
            field: name.to_owned(),
            reason: e.to_string(),
        })?),
    })
}
