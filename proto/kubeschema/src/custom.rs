//! Tables of custom resources, from their structural schemas.
//!
//! Follows apiextensions-apiserver `pkg/controller/openapi/builder` (1.36) for what apply and strict
//! decoding need: properties, list types, map types, free-form parts and embedded resources. Validation
//! and defaulting read the JSON schema itself and are not here.

use crate::schema::{
    AnyKind, Field, GroupVersionKind, ListKind, Name, Presence, Scalar, Strategy, Table, Type, TypeDef,
};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Deeper parts of a schema are free-form.
const MAX_DEPTH: usize = 64;

/// A table with one kind, from `spec.versions[].schema.openAPIV3Schema`; `None` makes the kind free-form
/// below its metadata.
pub fn table(kind: GroupVersionKind, schema: Option<&Value>) -> Table {
    let mut table = Table::default();
    let empty = Map::new();
    let object = schema.and_then(Value::as_object).unwrap_or(&empty);
    let mut def = object_def(&mut table, object, &kind.kind, true, 0);
    def.preserve_unknown |= schema.is_none();
    def.kinds = vec![kind];
    table.push(def);
    table
}

fn flag(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn text<'s>(schema: &'s Map<String, Value>, name: &str) -> &'s str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn object_def(
    table: &mut Table,
    schema: &Map<String, Value>,
    path: &str,
    resource: bool,
    depth: usize,
) -> TypeDef {
    let mut fields = Vec::new();
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            let ty = field_type(table, property, &format!("{path}.{name}"), depth + 1);
            let mut new = field(name.clone(), ty);
            new.default = property.get("default").cloned();
            fields.push(new);
        }
    }
    if resource {
        fields.retain(|f| !["apiVersion", "kind", "metadata"].contains(&f.json.as_ref()));
        fields.push(field("apiVersion".into(), Type::Scalar(Scalar::String)));
        fields.push(field("kind".into(), Type::Scalar(Scalar::String)));
        if let Some(id) = crate::builtin().names.get("meta.v1.ObjectMeta") {
            fields.push(field(
                "metadata".into(),
                Type::Builtin {
                    id: *id,
                    atomic: false,
                },
            ));
        }
    }
    fields.sort_by(|a, b| a.json.cmp(&b.json));
    TypeDef {
        name: Cow::Owned(path.to_owned()),
        fields,
        atomic: text(schema, "x-kubernetes-map-type") == "atomic",
        preserve_unknown: flag(schema, "x-kubernetes-preserve-unknown-fields"),
        resource,
        ..TypeDef::default()
    }
}

fn field(name: String, ty: Type) -> Field {
    Field {
        json: Cow::Owned(name),
        ty,
        presence: Presence::Optional,
        strategy: Strategy::default(),
        merge_key: None,
        default: None,
    }
}

fn field_type(table: &mut Table, schema: &Value, path: &str, depth: usize) -> Type {
    let Some(schema) = schema.as_object().filter(|_| depth < MAX_DEPTH) else {
        return Type::Any(AnyKind::Json);
    };
    if flag(schema, "x-kubernetes-int-or-string") {
        return Type::Scalar(Scalar::IntOrString);
    }
    match text(schema, "type") {
        "string" => Type::Scalar(Scalar::String),
        "boolean" => Type::Scalar(Scalar::Bool),
        "integer" if text(schema, "format") == "int32" => Type::Scalar(Scalar::Int32),
        "integer" => Type::Scalar(Scalar::Int64),
        "number" => Type::Scalar(Scalar::Double),
        "array" => list_type(table, schema, path, depth),
        "object" => object_type(table, schema, path, depth),
        _ => Type::Any(AnyKind::Json),
    }
}

fn list_type(table: &mut Table, schema: &Map<String, Value>, path: &str, depth: usize) -> Type {
    let null = Value::Null;
    let item = field_type(table, schema.get("items").unwrap_or(&null), path, depth + 1);
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    Type::List {
        item: Box::new(item),
        kind: match text(schema, "x-kubernetes-list-type") {
            "set" => ListKind::Set,
            "map" => ListKind::Map,
            _ => ListKind::Atomic,
        },
        keys: keys
            .into_iter()
            .flatten()
            .filter_map(|k| k.as_str().map(|k| Name::Owned(k.to_owned())))
            .collect(),
        wrapped: false,
    }
}

fn object_type(table: &mut Table, schema: &Map<String, Value>, path: &str, depth: usize) -> Type {
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let open = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let atomic = text(schema, "x-kubernetes-map-type") == "atomic";
    if let Some(values) = schema.get("additionalProperties")
        && values != &Value::Bool(false)
    {
        let value = Box::new(field_type(table, values, path, depth + 1));
        return Type::Map { value, atomic };
    }
    if schema.get("properties").is_none() && open && !embedded && !atomic {
        return Type::Any(AnyKind::Json);
    }
    let def = object_def(table, schema, path, embedded, depth);
    Type::Object {
        id: table.push(def),
        atomic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Shape;
    use serde_json::json;

    #[test]
    fn a_structural_schema_becomes_a_table() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "replicas": {"type": "integer", "format": "int32"},
                "rules": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }},
        }});
        let table = table(GroupVersionKind::new("example.com", "v1", "Toy"), Some(&schema));
        let toy = table.schema_for("example.com", "v1", "Toy").expect("the kind");
        let spec = toy.field("spec").expect("a field");
        assert_eq!(
            spec.field("replicas").map(Schema::go_type).as_deref(),
            Some("int32")
        );
        let rules = spec.field("rules").expect("a field").shape();
        assert!(matches!(
            rules,
            Shape::List {
                kind: ListKind::Map,
                ..
            }
        ));
        assert!(matches!(
            spec.field("free").expect("a field").shape(),
            Shape::Any(_)
        ));
        let meta = toy.field("metadata").expect("a field");
        assert!(meta.field("ownerReferences").is_some());
    }

    use crate::schema::Schema;
}
