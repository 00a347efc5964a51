//! Types of a tree against its schema, and the normal form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubeschema::{ObjectRef, Presence, Scalar, Schema, Shape, time};
use quantity::Quantity;
use serde_json::{Map, Number, Value};

use crate::field_error::quote;

/// A value that its field cannot hold; reads as upstream's JSON decoder has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypeError(String);

/// Brings a tree to normal form; see the module above.
///
/// # Errors
/// The first value of a wrong type in a part that a built-in schema describes.
pub fn normalize(value: &mut Value, schema: Schema<'_>) -> Result<(), TypeError> {
    let mut place = Place {
        owner: String::new(),
        path: Vec::new(),
    };
    place.value(value, schema)
}

/// Where the walk is, for error texts.
struct Place {
    /// the Go name of the innermost struct
    owner: String,
    path: Vec<String>,
}

impl Place {
    fn wrong(&self, found: &Value, expected: &str) -> TypeError {
        let found = match found {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(n) if expected.starts_with("int") => format!("number {n}"),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        if self.path.is_empty() {
            return TypeError(format!(
                "json: cannot unmarshal {found} into Go value of type {expected}"
            ));
        }
        TypeError(format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {expected}",
            self.owner,
            self.path.join(".")
        ))
    }

    fn value(&mut self, value: &mut Value, schema: Schema<'_>) -> Result<(), TypeError> {
        match schema.shape() {
            Shape::Any(_) => Ok(()),
            _ if is_custom(schema) => self.custom(value, schema),
            Shape::Scalar(scalar) => self.scalar(value, scalar),
            Shape::List { item, .. } => {
                let Value::Array(list) = value else {
                    return Err(self.wrong(value, &schema.go_type()));
                };
                for entry in list {
                    self.item(entry, item)?;
                }
                Ok(())
            }
            Shape::Map { value: inner, .. } => {
                let Value::Object(map) = value else {
                    return Err(self.wrong(value, &schema.go_type()));
                };
                map.values_mut().try_for_each(|entry| self.item(entry, inner))
            }
            Shape::Object(object) => {
                let Value::Object(map) = value else {
                    return Err(self.wrong(value, &schema.go_type()));
                };
                self.object(map, object)
            }
        }
    }

    /// A list item or map value: there `null` is the zero value.
    fn item(&mut self, value: &mut Value, schema: Schema<'_>) -> Result<(), TypeError> {
        if value.is_null() {
            *value = zero_of(schema);
            return Ok(());
        }
        self.value(value, schema)
    }

    fn object(&mut self, map: &mut Map<String, Value>, object: ObjectRef<'_>) -> Result<(), TypeError> {
        let name = object.def.name.rsplit('.').next().unwrap_or_default().to_owned();
        let outer = std::mem::replace(&mut self.owner, name);
        let mut failed = None;
        map.retain(|key, value| {
            let Some((field, schema)) = object.field(key) else {
                return object.def.preserve_unknown;
            };
            if value.is_null() || failed.is_some() {
                return false;
            }
            self.path.push(key.clone());
            failed = self.value(value, schema).err();
            self.path.pop();
            !is_zero(value, schema, field.presence)
        });
        self.owner = outer;
        failed.map_or(Ok(()), Err)
    }

    /// Custom resources: unknown fields go, metadata is typed, the rest is left to schema validation.
    fn custom(&mut self, value: &mut Value, schema: Schema<'_>) -> Result<(), TypeError> {
        match (schema.shape(), value) {
            (Shape::List { item, .. }, Value::Array(list)) => {
                list.iter_mut().try_for_each(|entry| self.value(entry, item))
            }
            (Shape::Map { value: inner, .. }, Value::Object(map)) => {
                map.values_mut().try_for_each(|entry| self.value(entry, inner))
            }
            (Shape::Object(object), Value::Object(map)) => {
                let name = object.def.name.rsplit('.').next().unwrap_or_default().to_owned();
                let outer = std::mem::replace(&mut self.owner, name);
                let mut failed = None;
                map.retain(|key, value| {
                    let Some((_, schema)) = object.field(key) else {
                        return object.def.preserve_unknown;
                    };
                    if value.is_null() || failed.is_some() {
                        return true;
                    }
                    self.path.push(key.clone());
                    failed = self.value(value, schema).err();
                    self.path.pop();
                    true
                });
                self.owner = outer;
                failed.map_or(Ok(()), Err)
            }
            _ => Ok(()),
        }
    }

    fn scalar(&self, value: &mut Value, scalar: Scalar) -> Result<(), TypeError> {
        let expected = |name: &str, value: &Value| Err(self.wrong(value, name));
        match (scalar, &mut *value) {
            (Scalar::String, Value::String(_)) | (Scalar::Bool, Value::Bool(_)) => Ok(()),
            (Scalar::String, other) => expected("string", other),
            (Scalar::Bool, other) => expected("bool", other),
            (Scalar::Int32, Value::Number(n)) if n.as_i64().is_some_and(|v| i32::try_from(v).is_ok()) => {
                Ok(())
            }
            (Scalar::Int32, other) => expected("int32", other),
            (Scalar::Int64, Value::Number(n)) if n.as_i64().is_some() => Ok(()),
            (Scalar::Int64, other) => expected("int64", other),
            (Scalar::Double, Value::Number(_)) => Ok(()),
            (Scalar::Double, other) => expected("float64", other),
            (Scalar::Bytes, Value::String(text)) => {
                // Go's decoder skips line breaks in base64.
                text.retain(|c| c != '\n' && c != '\r');
                match STANDARD.decode(text.as_bytes()) {
                    Ok(_) => Ok(()),
                    Err(error) => Err(TypeError(base64_error(&error, text.len()))),
                }
            }
            (Scalar::Bytes, other) => expected("[]uint8", other),
            (Scalar::IntOrString, Value::String(_)) => Ok(()),
            (Scalar::IntOrString, Value::Number(n))
                if n.as_i64().is_some_and(|v| i32::try_from(v).is_ok()) =>
            {
                Ok(())
            }
            (Scalar::IntOrString, other) => {
                let found = self.wrong(other, "int32").0;
                let found = found.split(" into Go").next().unwrap_or_default();
                Err(TypeError(format!("{found} into Go value of type int32")))
            }
            (Scalar::Quantity, _) => quantity(value),
            (Scalar::Time, _) => self.time(value, false),
            (Scalar::MicroTime, _) => self.time(value, true),
            (Scalar::Duration, Value::String(_)) => Ok(()),
            (Scalar::Duration, other) => expected("string", other),
        }
    }

    fn time(&self, value: &mut Value, micros: bool) -> Result<(), TypeError> {
        let Value::String(text) = value else {
            let found = self.wrong(value, "string").0;
            let found = found.split(" into Go").next().unwrap_or_default();
            return Err(TypeError(format!("{found} into Go value of type string")));
        };
        let layout = if micros {
            "2006-01-02T15:04:05.000000Z07:00"
        } else {
            "2006-01-02T15:04:05Z07:00"
        };
        let normal = time::parse_rfc3339(text).and_then(|(seconds, nanos)| {
            if micros {
                time::format_micros(seconds, nanos)
            } else {
                time::format_seconds(seconds)
            }
        });
        match normal {
            Some(normal) => {
                *value = Value::String(normal);
                Ok(())
            }
            None => Err(TypeError(format!(
                "parsing time {} as {}: cannot parse {} as \"2006\"",
                quote(text),
                quote(layout),
                quote(text)
            ))),
        }
    }
}

fn is_custom(schema: Schema<'_>) -> bool {
    !std::ptr::eq(schema.table(), kubeschema::builtin())
        && !matches!(schema.ty(), kubeschema::Type::Builtin { .. })
}

fn quantity(value: &mut Value) -> Result<(), TypeError> {
    let quantity = Quantity::from_value(value).map_err(|error| TypeError(error.to_string()))?;
    *value = Value::String(quantity.to_string());
    Ok(())
}

fn base64_error(error: &base64::DecodeError, length: usize) -> String {
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        _ => length / 4 * 4,
    };
    format!("illegal base64 data at input byte {at}")
}

/// The value Go has for a `null` item.
fn zero_of(schema: Schema<'_>) -> Value {
    match schema.shape() {
        Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::IntOrString) => {
            Value::Number(Number::from(0))
        }
        Shape::Scalar(Scalar::Bool) => Value::Bool(false),
        Shape::Scalar(Scalar::Quantity) => Value::String("0".to_owned()),
        Shape::Scalar(_) => Value::String(String::new()),
        Shape::List { .. } => Value::Array(Vec::new()),
        Shape::Object(_) => Value::Object(Map::new()),
        Shape::Map { .. } | Shape::Any(_) => Value::Null,
    }
}

/// Whether upstream would leave the value out: plain zero scalars, empty lists and maps (which are the same as
/// absent ones in the store). Empty structs, quantities and int-or-strings are kept.
fn is_zero(value: &Value, schema: Schema<'_>, presence: Presence) -> bool {
    match (schema.shape(), value) {
        (Shape::Scalar(Scalar::IntOrString | Scalar::Quantity), _) => false,
        (Shape::Scalar(_), Value::String(text)) => presence == Presence::NonZero && text.is_empty(),
        (Shape::Scalar(_), Value::Bool(flag)) => presence == Presence::NonZero && !flag,
        (Shape::Scalar(_), Value::Number(n)) => presence == Presence::NonZero && n.as_f64() == Some(0.0),
        (Shape::List { .. }, Value::Array(list)) => list.is_empty(),
        (Shape::Map { .. }, Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}
