//! Definitions by name: shapes and descriptions from `k8s-openapi`, extensions from the schema table.
//!
//! Written in the v3 form; `v2` rewrites them.

use std::collections::BTreeMap;

use k8s_openapi::schemars::generate::SchemaSettings;
use k8s_openapi::schemars::{JsonSchema, Schema, SchemaGenerator};
use kubeschema::{Field, ListKind, Type, TypeDef};
use serde_json::{Map, Value, json};

use super::CustomSchemas;
use crate::GroupVersionKind;
use crate::resource::Resource;

pub(super) const REF: &str = "#/components/schemas/";
pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
pub(super) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

type Definer = fn(&mut SchemaGenerator) -> Schema;

/// Types that requests and responses name; what they refer to comes with them.
macro_rules! roots {
    ($($package:literal => $($path:ident)::+: $($name:ident),+;)+) => {
        fn roots() -> BTreeMap<String, Definer> {
            let mut roots: BTreeMap<String, Definer> = BTreeMap::new();
            $({
                use k8s_openapi::$($path)::+ as package;
                $(roots.insert(
                    concat!($package, ".", stringify!($name)).to_owned(),
                    define::<package::$name> as Definer,
                );)+
            })+
            roots
        }
    };
}

fn define<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

include!("roots.rs");

/// Definitions, collected.
#[derive(Default)]
pub(super) struct Definitions {
    pub map: Map<String, Value>,
}

/// The definitions behind resources: kinds, lists, sub-resources' kinds, and what every document needs.
pub(super) fn of_resources(resources: &[&Resource], custom: &CustomSchemas) -> Definitions {
    let roots = roots();
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.transforms.clear();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut wanted = vec![
        "meta.v1.Status".to_owned(),
        "meta.v1.DeleteOptions".into(),
        "meta.v1.APIResourceList".into(),
    ];
    // Lists and custom resources refer to these.
    generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta>();
    generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>();
    for resource in resources {
        wanted.extend(short_name(&resource.gvk()));
        wanted.extend(
            resource
                .subresources
                .iter()
                .filter_map(|sub| short_name(&sub.kind)),
        );
    }
    for name in &wanted {
        if let Some(define) = roots.get(name) {
            define(&mut generator);
        }
    }
    let mut out = Definitions::default();
    for (name, mut definition) in generator.take_definitions(false) {
        complete(&name, &mut definition);
        out.map.insert(name, definition);
    }
    out.map.insert(
        PATCH.to_owned(),
        json!({"type": "object", "description": "Patch is provided to give a concrete name and type to the request \
            body of a patch."}),
    );
    for resource in resources {
        if resource.custom {
            out.add_custom(resource, custom.get(&resource.gvk()));
        } else if resource.has_verb("list") {
            out.add_list(&definition_name(&resource.gvk()), resource);
        }
    }
    out
}

impl Definitions {
    fn add_list(&mut self, item: &str, resource: &Resource) {
        let mut list = json!({
            "type": "object",
            "description": format!("{}List is a list of {}", resource.kind, resource.kind),
            "required": ["items"],
            "properties": {
                "apiVersion": text("the version of this representation"),
                "kind": text("the kind of the list"),
                "metadata": {"allOf": [{"$ref": format!("{REF}{LIST_META}")}], "description": "Standard list metadata"},
                "items": {"type": "array", "items": {"allOf": [{"$ref": format!("{REF}{item}")}], "default": {}},
                    "description": "the objects"},
            },
        });
        list["x-kubernetes-group-version-kind"] = json!([gvk_value(&GroupVersionKind {
            kind: resource.list_kind.clone(),
            ..resource.gvk()
        })]);
        self.map.insert(format!("{item}List"), list);
    }

    fn add_custom(&mut self, resource: &Resource, schema: Option<&Value>) {
        let name = definition_name(&resource.gvk());
        let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let mut definition = schema.cloned().filter(Value::is_object).unwrap_or(free);
        definition["x-kubernetes-group-version-kind"] = json!([gvk_value(&resource.gvk())]);
        if definition.get("properties").is_none_or(|p| !p.is_object()) {
            definition["properties"] = json!({});
        }
        definition["properties"]["apiVersion"] = text("the version of this representation");
        definition["properties"]["kind"] = text("the kind of the object");
        definition["properties"]["metadata"] = json!({
            "allOf": [{"$ref": format!("{REF}{OBJECT_META}")}],
            "description": "Standard object's metadata",
        });
        self.map.insert(name.clone(), definition);
        self.add_list(&name, resource);
    }
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

pub(super) fn gvk_value(gvk: &GroupVersionKind) -> Value {
    json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind})
}

/// `core.v1.Pod`, the name in the schema table.
fn short_name(gvk: &GroupVersionKind) -> Option<String> {
    let schema = kubeschema::schema_for(&gvk.group, &gvk.version, &gvk.kind)?;
    Some(schema.object()?.def.name.to_string())
}

/// The name of a kind's definition: `io.k8s.api.core.v1.Pod`, or `com.example.v1.Toy` for custom kinds.
pub(super) fn definition_name(gvk: &GroupVersionKind) -> String {
    match short_name(gvk) {
        Some(short) => full_name(&short),
        None => {
            let mut parts: Vec<&str> = gvk.group.split('.').collect();
            parts.reverse();
            format!("{}.{}.{}", parts.join("."), gvk.version, gvk.kind)
        }
    }
}

fn full_name(short: &str) -> String {
    match short.split('.').next() {
        Some("meta") => format!("io.k8s.apimachinery.pkg.apis.{short}"),
        Some("apiextensions") => format!("io.k8s.apiextensions-apiserver.pkg.apis.{short}"),
        Some("apiregistration") => format!("io.k8s.kube-aggregator.pkg.apis.{short}"),
        _ => format!("io.k8s.api.{short}"),
    }
}

/// Adds the extensions, and gives the special types the form that clients know.
fn complete(name: &str, definition: &mut Value) {
    let description = definition.get("description").cloned().unwrap_or_default();
    match name {
        INT_OR_STRING => {
            *definition = json!({"description": description, "format": "int-or-string",
                "oneOf": [{"type": "integer"}, {"type": "string"}]});
            return;
        }
        QUANTITY => {
            *definition =
                json!({"description": description, "oneOf": [{"type": "string"}, {"type": "number"}]});
            return;
        }
        _ => {}
    }
    each_schema(definition, &wrap_reference);
    let short: Vec<&str> = name.rsplitn(4, '.').take(3).collect();
    let short = short.iter().rev().copied().collect::<Vec<_>>().join(".");
    let Some(object) = kubeschema::builtin()
        .schema_named(&short)
        .and_then(|schema| schema.object())
    else {
        return;
    };
    add_kinds(definition, object.def);
    if object.def.atomic {
        definition["x-kubernetes-map-type"] = "atomic".into();
    }
    if !object.def.unions.is_empty() {
        definition["x-kubernetes-unions"] = object.def.unions.clone().into();
    }
    if let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            if let Some(field) = object.def.field(name) {
                add_extensions(property, field);
            }
        }
    }
}

fn add_kinds(definition: &mut Value, def: &TypeDef) {
    let kinds: Vec<Value> = def
        .kinds
        .iter()
        .filter(|kind| kind.group != "meta.k8s.io")
        .map(|kind| json!({"group": kind.group, "version": kind.version, "kind": kind.kind}))
        .collect();
    if !kinds.is_empty() {
        definition["x-kubernetes-group-version-kind"] = kinds.into();
    }
}

fn add_extensions(property: &mut Value, field: &Field) {
    match &field.ty {
        // Lists of no kind are atomic for apply; upstream marks them all by now.
        Type::List { kind, keys, .. } => {
            property["x-kubernetes-list-type"] = match kind {
                ListKind::Atomic => "atomic",
                ListKind::Set => "set",
                ListKind::Map => "map",
            }
            .into();
            if !keys.is_empty() {
                property["x-kubernetes-list-map-keys"] = json!(keys);
            }
        }
        Type::Map { atomic: true, .. } | Type::Object { atomic: true, .. } => {
            property["x-kubernetes-map-type"] = "atomic".into();
        }
        _ => {}
    }
    let strategy = field.strategy;
    let names = [
        (strategy.merge, "merge"),
        (strategy.replace, "replace"),
        (strategy.retain_keys, "retainKeys"),
    ];
    let names: Vec<&str> = names
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| *name)
        .collect();
    if !names.is_empty() {
        property["x-kubernetes-patch-strategy"] = names.join(",").into();
    }
    if let Some(key) = &field.merge_key {
        property["x-kubernetes-patch-merge-key"] = json!(key);
    }
}

/// Calls `change` for a schema and every schema below it. Names of properties are no keywords: a property may be
/// called `$ref`.
pub(super) fn each_schema(schema: &mut Value, change: &dyn Fn(&mut Map<String, Value>)) {
    let Value::Object(map) = schema else { return };
    change(map);
    for keyword in ["items", "additionalProperties", "not"] {
        if let Some(below) = map.get_mut(keyword) {
            each_schema(below, change);
        }
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for below in map
            .get_mut(keyword)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            each_schema(below, change);
        }
    }
    for below in map
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        each_schema(below.1, change);
    }
}

/// In v3 a reference stands alone: with a description it moves into `allOf`.
fn wrap_reference(map: &mut Map<String, Value>) {
    if map.len() > 1
        && let Some(reference) = map.remove("$ref")
    {
        map.insert("allOf".to_owned(), json!([{"$ref": reference}]));
    }
}
