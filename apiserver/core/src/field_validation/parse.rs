//! Text to trees in one pass that also finds repeated and unknown fields, in the order of the text.

use std::collections::BTreeSet;
use std::fmt;

use kubeschema::{Schema, Shape};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Problems beyond this number are not listed (`sigs.k8s.io/json`: `maxStrictErrors`).
const MAX_PROBLEMS: usize = 100;

/// A parsed text.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// without the unknown fields; of a repeated field the last value
    pub value: Value,
    /// `unknown field "spec.foo"`, `duplicate field "spec.bar"`
    pub problems: Vec<String>,
}

/// The text is no JSON or YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(String);

/// Parses JSON. Without a schema only repeated fields are found.
pub fn parse_json(text: &[u8], schema: Option<Schema<'_>>) -> Result<Parsed, SyntaxError> {
    let mut problems = Problems::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let seed = Seed {
        schema,
        problems: &mut problems,
    };
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|e| SyntaxError(format!("couldn't get version/kind; json parse error: {e}")))?;
    Ok(Parsed {
        value,
        problems: problems.list,
    })
}

/// Parses one YAML document.
pub fn parse_yaml(text: &[u8], schema: Option<Schema<'_>>) -> Result<Parsed, SyntaxError> {
    let mut problems = Problems::default();
    let seed = Seed {
        schema,
        problems: &mut problems,
    };
    let value = seed
        .deserialize(serde_yaml_ng::Deserializer::from_slice(text))
        .map_err(|e| SyntaxError(format!("error parsing YAML: {e}")))?;
    Ok(Parsed {
        value,
        problems: problems.list,
    })
}

/// The path walked so far, and what was found.
#[derive(Default)]
struct Problems {
    path: String,
    list: Vec<String>,
}

impl Problems {
    fn push(&mut self, what: &str, field: &str) {
        if self.list.len() >= MAX_PROBLEMS {
            return;
        }
        let dot = if self.path.is_empty() { "" } else { "." };
        let text = format!("{what} field \"{}{dot}{field}\"", self.path);
        if !self.list.contains(&text) {
            self.list.push(text);
        }
    }
}

struct Seed<'s, 'p> {
    schema: Option<Schema<'s>>,
    problems: &'p mut Problems,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What the schema says about one field of an object.
enum Known<'s> {
    Typed(Option<Schema<'s>>),
    Unknown,
}

fn known<'s>(schema: Option<Schema<'s>>, field: &str) -> Known<'s> {
    match schema.map(Schema::shape) {
        Some(Shape::Object(object)) => match object.field(field) {
            Some((_, schema)) => Known::Typed(Some(schema)),
            None if object.def.preserve_unknown => Known::Typed(None),
            None => Known::Unknown,
        },
        Some(Shape::Map { value, .. }) => Known::Typed(Some(value)),
        _ => Known::Typed(None),
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut seen = BTreeSet::new();
        while let Some(key) = access.next_key_seed(KeySeed)? {
            if !seen.insert(key.clone()) {
                self.problems.push("duplicate", &key);
            }
            let schema = match known(self.schema, &key) {
                Known::Typed(schema) => schema,
                Known::Unknown => {
                    self.problems.push("unknown", &key);
                    access.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let length = self.problems.path.len();
            if length > 0 {
                self.problems.path.push('.');
            }
            self.problems.path.push_str(&key);
            let seed = Seed {
                schema,
                problems: &mut *self.problems,
            };
            let value = access.next_value_seed(seed)?;
            self.problems.path.truncate(length);
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let schema = self.schema.and_then(Schema::item);
        let mut list = Vec::new();
        let length = self.problems.path.len();
        loop {
            self.problems.path.push_str(&format!("[{}]", list.len()));
            let seed = Seed {
                schema,
                problems: &mut *self.problems,
            };
            let item = access.next_element_seed(seed)?;
            self.problems.path.truncate(length);
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is infinite or no number at all has no JSON form"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Keys of YAML maps may be numbers and booleans: they become strings.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, v: &str) -> Result<String, E> {
        Ok(v.to_owned())
    }

    fn visit_string<E>(self, v: String) -> Result<String, E> {
        Ok(v)
    }

    fn visit_bool<E>(self, v: bool) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_i64<E>(self, v: i64) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_u64<E>(self, v: u64) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_f64<E>(self, v: f64) -> Result<String, E> {
        Ok(v.to_string())
    }
}
