//! JSON values to protobuf messages.

use super::{MAX_DEPTH, ProtobufError, scalars, writer};
use crate::schema::{AnyKind, Field, Scalar, Table, Type, TypeDef, WireTarget};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

type Result<T> = std::result::Result<T, ProtobufError>;

/// Writes the fields of one message in the order of their numbers; `null` is absent.
pub(super) fn message(
    table: &Table,
    def: &TypeDef,
    object: &Map<String, Value>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::TooDeep);
    }
    for wire in &def.wire {
        match &wire.target {
            WireTarget::Inline(id) => writer::message_field(out, wire.number, |out| {
                message(table, table.def(*id), object, depth + 1, out)
            })?,
            WireTarget::Field(at) => {
                let field = &def.fields[*at];
                match object.get(field.json.as_ref()) {
                    None | Some(Value::Null) => {}
                    Some(value) => write_field(table, field, wire.number, value, depth, out)?,
                }
            }
        }
    }
    Ok(())
}

fn wrong(field: &str, expected: &str) -> ProtobufError {
    ProtobufError::Value {
        field: field.to_owned(),
        expected: expected.to_owned(),
    }
}

fn write_field(
    table: &Table,
    field: &Field,
    number: u32,
    value: &Value,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let name = field.json.as_ref();
    match &field.ty {
        Type::List {
            item, wrapped: false, ..
        } => {
            let list = value.as_array().ok_or_else(|| wrong(name, "a list"))?;
            for entry in list {
                write_value(table, name, item, number, entry, depth, out)?;
            }
            Ok(())
        }
        Type::Map { value: inner, .. } => {
            let map = value.as_object().ok_or_else(|| wrong(name, "a map"))?;
            for (key, entry) in map {
                writer::message_field(out, number, |out| {
                    writer::bytes_field(out, 1, key.as_bytes());
                    write_value(table, name, inner, 2, entry, depth, out)
                })?;
            }
            Ok(())
        }
        ty => write_value(table, name, ty, number, value, depth, out),
    }
}

fn write_value(
    table: &Table,
    name: &str,
    ty: &Type,
    number: u32,
    value: &Value,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    match ty {
        Type::Scalar(scalar) => {
            write_scalar(*scalar, number, value, out).ok_or_else(|| wrong(name, &format!("{scalar:?}")))
        }
        Type::Any(kind) => writer::message_field(out, number, |out| any(*kind, name, value, depth + 1, out)),
        Type::List { .. } => {
            let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
            writer::message_field(out, number, |out| {
                for entry in list {
                    let text = entry.as_str().ok_or_else(|| wrong(name, "a list of strings"))?;
                    writer::bytes_field(out, 1, text.as_bytes());
                }
                Ok(())
            })
        }
        Type::Map { .. } => Err(wrong(name, "a map of maps")),
        Type::Object { id, .. } => nested(table, table.def(*id), name, number, value, depth, out),
        Type::Builtin { id, .. } => {
            let builtin = crate::builtin();
            nested(builtin, builtin.def(*id), name, number, value, depth, out)
        }
    }
}

fn nested(
    table: &Table,
    def: &TypeDef,
    name: &str,
    number: u32,
    value: &Value,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let empty = Map::new();
    let object = match value {
        Value::Object(object) => object,
        Value::Null => &empty,
        _ => return Err(wrong(name, "an object")),
    };
    writer::message_field(out, number, |out| message(table, def, object, depth + 1, out))
}

fn write_scalar(scalar: Scalar, number: u32, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match scalar {
        Scalar::String => writer::bytes_field(out, number, value.as_str()?.as_bytes()),
        Scalar::Int32 | Scalar::Int64 => {
            let Value::Number(n) = value else { return None };
            writer::varint_field(out, number, scalars::integer(n)? as u64);
        }
        Scalar::Bool => writer::varint_field(out, number, u64::from(value.as_bool()?)),
        Scalar::Double => writer::fixed64_field(out, number, value.as_f64()?.to_bits()),
        Scalar::Bytes => {
            let bytes = match value {
                Value::Null => Vec::new(),
                value => STANDARD.decode(value.as_str()?).ok()?,
            };
            writer::bytes_field(out, number, &bytes);
        }
        Scalar::Quantity => {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(n) => n.to_string(),
                _ => return None,
            };
            sub(out, number, |out| {
                writer::bytes_field(out, 1, text.as_bytes());
                Some(())
            })?;
        }
        Scalar::IntOrString => sub(out, number, |out| scalars::write_int_or_string(out, value))?,
        Scalar::Time => sub(out, number, |out| {
            scalars::write_time(out, value.as_str()?, false)
        })?,
        Scalar::MicroTime => sub(out, number, |out| scalars::write_time(out, value.as_str()?, true))?,
        Scalar::Duration => {
            let nanos = scalars::parse_duration(value.as_str()?)?;
            sub(out, number, |out| {
                writer::varint_field(out, 1, nanos as u64);
                Some(())
            })?;
        }
    }
    Some(())
}

fn sub(out: &mut Vec<u8>, number: u32, body: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<()> {
    writer::message_field(out, number, |out| body(out).ok_or(())).ok()
}

fn any(kind: AnyKind, name: &str, value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    let builtin = crate::builtin();
    let schema = |number: u32, value: &Value, out: &mut Vec<u8>| -> Result<()> {
        let id = builtin.names.get("apiextensions.v1.JSONSchemaProps");
        let def = id
            .map(|id| builtin.def(*id))
            .ok_or_else(|| wrong(name, "a schema"))?;
        nested(builtin, def, name, number, value, depth, out)
    };
    match (kind, value) {
        (AnyKind::RawExtension | AnyKind::FieldsV1 | AnyKind::Json, value) => {
            writer::bytes_field(out, 1, value.to_string().as_bytes());
        }
        (AnyKind::SchemaOrBool, Value::Bool(flag)) => writer::varint_field(out, 1, u64::from(*flag)),
        (AnyKind::SchemaOrBool, value) => {
            writer::varint_field(out, 1, 1);
            schema(2, value, out)?;
        }
        (AnyKind::SchemaOrArray, Value::Array(list)) => {
            for entry in list {
                schema(2, entry, out)?;
            }
        }
        (AnyKind::SchemaOrStrings, Value::Array(list)) => {
            for entry in list {
                let text = entry.as_str().ok_or_else(|| wrong(name, "a list of strings"))?;
                writer::bytes_field(out, 2, text.as_bytes());
            }
        }
        (AnyKind::SchemaOrArray | AnyKind::SchemaOrStrings, value) => schema(1, value, out)?,
    }
    Ok(())
}
