//! Values seen through their schema: what merges, what is atomic, and how list items are told apart.
//!
//! Follows `structured-merge-diff/v6/typed/helpers.go`.

use std::collections::BTreeMap;

use kubeschema::{AnyKind, ListKind, Name, Scalar, Schema, Shape};
use serde_json::Value;

use super::field_set::{FieldSet, PathElement};

/// The type of a value: declared, or none.
#[derive(Clone, Copy)]
pub(super) enum Node<'s> {
    Typed(Schema<'s>),
    /// maps merge, lists and scalars do not
    Deduced,
    /// one value, whatever it is
    Atomic,
    /// a map of atomic values (`runtime.RawExtension`)
    OpenMap,
}

/// How one value is treated.
pub(super) enum Atom<'s> {
    Leaf,
    Map(Node<'s>),
    List(ListRule<'s>),
}

/// A list whose items are told apart.
#[derive(Clone, Copy)]
pub(super) struct ListRule<'s> {
    pub item: Node<'s>,
    /// empty: a set of scalars
    pub keys: &'s [Name],
}

impl<'s> Node<'s> {
    pub(super) fn of(schema: Option<Schema<'s>>) -> Self {
        schema.map_or(Node::Deduced, Node::Typed)
    }

    /// What `value` is here; a value of another type than declared is a leaf.
    pub(super) fn atom(self, value: &Value) -> Atom<'s> {
        match (self, value) {
            (Node::Deduced | Node::OpenMap, Value::Object(_)) => Atom::Map(self),
            (Node::Typed(schema), value) => match (schema.shape(), value) {
                (Shape::Object(object), Value::Object(_) | Value::Null) if !object.atomic => Atom::Map(self),
                (Shape::Map { atomic: false, .. }, Value::Object(_) | Value::Null) => Atom::Map(self),
                (Shape::Any(kind), value) => any(schema, kind).atom(value),
                (Shape::List { item, kind, keys }, Value::Array(_) | Value::Null)
                    if kind != ListKind::Atomic =>
                {
                    Atom::List(ListRule {
                        item: Node::Typed(item),
                        keys: if kind == ListKind::Map { keys } else { &[] },
                    })
                }
                _ => Atom::Leaf,
            },
            _ => Atom::Leaf,
        }
    }

    pub(super) fn field(self, name: &str) -> Node<'s> {
        match self {
            Node::Typed(schema) => match schema.shape() {
                Shape::Any(kind) => any(schema, kind).field(name),
                _ => schema.field(name).map_or(Node::Deduced, Node::Typed),
            },
            Node::OpenMap => Node::Atomic,
            other => other,
        }
    }

    pub(super) fn item(self) -> Node<'s> {
        match self {
            Node::Typed(schema) => schema.item().map_or(Node::Deduced, Node::Typed),
            other => other,
        }
    }

    /// Whether a map here has declared fields; of other maps every key is a member.
    pub(super) fn declares(self, name: &str) -> bool {
        match self {
            Node::Typed(schema) => schema.object().is_some_and(|object| object.field(name).is_some()),
            _ => false,
        }
    }
}

fn any(schema: Schema<'_>, kind: AnyKind) -> Node<'static> {
    let custom = !std::ptr::eq(schema.table(), kubeschema::builtin());
    match kind {
        _ if custom => Node::Deduced,
        AnyKind::RawExtension | AnyKind::FieldsV1 => Node::OpenMap,
        _ => Node::Atomic,
    }
}

impl ListRule<'_> {
    /// How an item is named in paths.
    pub(super) fn element(&self, item: &Value) -> Result<PathElement, String> {
        if self.keys.is_empty() {
            return match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".into())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".into())
                }
                scalar => Ok(PathElement::Value(scalar.to_string())),
            };
        }
        let Value::Object(map) = item else {
            let what = if item.is_null() {
                "a null element"
            } else {
                "non-map elements"
            };
            return Err(format!("associative list with keys may not have {what}"));
        };
        let mut found: BTreeMap<&str, &Value> = BTreeMap::new();
        for key in self.keys {
            let default = self.key_default(key);
            if let Some(value) = map.get(key.as_ref()).or(default) {
                found.insert(key, value);
            }
        }
        if found.is_empty() {
            return Err(format!(
                "associative list with keys has an element that omits all key fields {:?} (and doesn't have default \
                 values for any key fields)",
                self.keys
            ));
        }
        let object: serde_json::Map<String, Value> = found
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.clone()))
            .collect();
        Ok(PathElement::Key(Value::Object(object).to_string()))
    }

    fn key_default(&self, key: &str) -> Option<&Value> {
        let Node::Typed(schema) = self.item else {
            return None;
        };
        schema.object()?.field(key)?.0.default.as_ref()
    }
}

/// Every path of a value (`TypedValue.ToFieldSet`).
pub(super) fn to_field_set(value: &Value, node: Node<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    collect(value, node, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, node: Node<'_>, path: &mut Vec<PathElement>, set: &mut FieldSet) {
    match (node.atom(value), value) {
        (Atom::Leaf, _) => set.insert(path),
        (Atom::Map(node), Value::Object(map)) => {
            for (key, below) in map {
                path.push(PathElement::Field(key.clone()));
                collect(below, node.field(key), path, set);
                let empty = below.is_null() || below.as_object().is_some_and(serde_json::Map::is_empty);
                if empty || !node.declares(key) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (Atom::List(rule), Value::Array(list)) => {
            let elements: Vec<Option<PathElement>> =
                list.iter().map(|item| rule.element(item).ok()).collect();
            for (item, element) in list.iter().zip(&elements) {
                let Some(element) = element else { continue };
                path.push(element.clone());
                // Of repeated items only the item itself is owned: which of them is meant is unknown below it.
                if elements.iter().filter(|e| e.as_ref() == Some(element)).count() == 1 {
                    collect(item, rule.item, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Checks a configuration against a schema, as `ObjectToTyped` does: unknown fields, wrong types, repeated items.
pub(super) fn check(value: &Value, schema: Schema<'_>, path: &mut String) -> Result<(), String> {
    let wrong =
        |path: &str, expected: &str| Err(format!("{path}: expected {expected}, got {}", go_value(value)));
    let length = path.len();
    match (schema.shape(), value) {
        (_, Value::Null) | (Shape::Any(_), _) => Ok(()),
        (Shape::Object(object), Value::Object(map)) => {
            for (key, below) in map {
                path.push_str(&format!(".{key}"));
                match object.field(key) {
                    Some((_, schema)) => check(below, schema, path)?,
                    None if object.def.preserve_unknown => {}
                    None => return Err(format!("{path}: field not declared in schema")),
                }
                path.truncate(length);
            }
            Ok(())
        }
        (Shape::Map { value: inner, .. }, Value::Object(map)) => {
            for (key, below) in map {
                path.push_str(&format!(".{key}"));
                check(below, inner, path)?;
                path.truncate(length);
            }
            Ok(())
        }
        (Shape::List { item, kind, keys }, Value::Array(list)) => {
            let rule = ListRule {
                item: Node::Typed(item),
                keys: if kind == ListKind::Map { keys } else { &[] },
            };
            let mut seen = std::collections::BTreeSet::new();
            for (i, below) in list.iter().enumerate() {
                let shown = match kind {
                    ListKind::Atomic => PathElement::Index(i as i64),
                    _ => rule
                        .element(below)
                        .map_err(|why| format!("{path}: element {i}: {why}"))?,
                };
                if !seen.insert(shown.clone()) {
                    return Err(format!("{path}: duplicate entries for key {shown}"));
                }
                path.push_str(&shown.to_string());
                check(below, item, path)?;
                path.truncate(length);
            }
            Ok(())
        }
        (Shape::Scalar(scalar), value) if matches_scalar(scalar, value) => Ok(()),
        (Shape::Scalar(scalar), _) => match scalar {
            Scalar::Bool => wrong(path, "boolean"),
            Scalar::Int32 | Scalar::Int64 | Scalar::Double => wrong(path, "numeric (int or float)"),
            Scalar::Quantity | Scalar::IntOrString => wrong(path, "string or number"),
            _ => wrong(path, "string"),
        },
        (Shape::List { .. }, _) => wrong(path, "list"),
        _ => wrong(path, "map"),
    }
}

fn matches_scalar(scalar: Scalar, value: &Value) -> bool {
    match scalar {
        Scalar::Bool => value.is_boolean(),
        Scalar::Int32 | Scalar::Int64 | Scalar::Double => value.is_number(),
        Scalar::Quantity | Scalar::IntOrString => value.is_string() || value.is_number(),
        _ => value.is_string(),
    }
}

fn go_value(value: &Value) -> String {
    match value {
        Value::String(_) => "string".to_owned(),
        other => format!("&{{{other}}}"),
    }
}
