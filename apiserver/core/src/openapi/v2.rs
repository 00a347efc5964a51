//! OpenAPI v2 (Swagger): everything in one document.

use serde_json::{Map, Value, json};

use super::CustomSchemas;
use super::definitions::{PATCH, REF, each_schema, gvk_value, of_resources};
use super::parameters::{PRETTY, Parameter};
use super::rest::{Operation, Path, paths};
use crate::discovery::Catalog;
use crate::patch::PatchType;
use crate::resource::Resource;

pub(super) const VERSION: &str = "v1.36.0";

pub(super) fn document(catalog: &Catalog, custom: &CustomSchemas) -> Value {
    let resources: Vec<&Resource> = catalog
        .groups
        .iter()
        .flat_map(|group| &group.versions)
        .flat_map(|version| version.resources.iter().map(|r| r.as_ref()))
        .collect();
    let mut path_map = Map::new();
    for path in resources.iter().flat_map(|resource| paths(resource)) {
        path_map.insert(path.path.clone(), path_item(&path));
    }
    let mut definitions = of_resources(&resources, custom).map;
    definitions
        .values_mut()
        .for_each(|definition| each_schema(definition, &rewrite));
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": path_map,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "in": "header", "name": "authorization",
            "description": "Bearer Token authentication"}},
        "security": [{"BearerToken": []}],
    })
}

/// A v3 schema in the words of v2: references with siblings, no alternatives, no nullable values.
fn rewrite(map: &mut Map<String, Value>) {
    if let Some(Value::Array(all)) = map.get("allOf")
        && let [only] = all.as_slice()
        && let Some(reference) = only.get("$ref").cloned()
    {
        map.remove("allOf");
        map.remove("default");
        map.insert("$ref".to_owned(), reference);
    }
    if let Some(Value::String(reference)) = map.get_mut("$ref")
        && let Some(name) = reference.strip_prefix(REF)
    {
        *reference = format!("#/definitions/{name}");
    }
    if map.remove("oneOf").is_some() {
        map.entry("type").or_insert_with(|| "string".into());
    }
    for keyword in ["anyOf", "allOf", "not", "nullable"] {
        map.remove(keyword);
    }
}

fn query(parameter: &Parameter) -> Value {
    json!({"name": parameter.name, "in": "query", "description": parameter.description,
        "type": parameter.ty, "uniqueItems": true})
}

fn path_item(path: &Path) -> Value {
    let mut item = Map::new();
    let mut shared = Vec::new();
    for (there, name, what) in [
        (path.named, "name", "the name of the object"),
        (path.namespaced, "namespace", "the namespace of the object"),
    ] {
        if there {
            shared.push(
                json!({"name": name, "in": "path", "description": what, "required": true,
                "type": "string", "uniqueItems": true}),
            );
        }
    }
    shared.push(query(&PRETTY));
    item.insert("parameters".to_owned(), shared.into());
    for operation in &path.operations {
        item.insert(operation.method.to_owned(), operation_value(operation));
    }
    Value::Object(item)
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

fn operation_value(operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = operation.parameters.iter().map(|p| query(p)).collect();
    let mut consumes = vec!["*/*"];
    if let Some(body) = &operation.body {
        let required = !operation.action.starts_with("delete");
        parameters.insert(
            0,
            json!({"name": "body", "in": "body", "required": required, "schema": reference(body)}),
        );
        if body == PATCH {
            consumes = PatchType::ACCEPTED.to_vec();
        }
    }
    let answer = match &operation.answer {
        Some(name) => json!({"description": "OK", "schema": reference(name)}),
        None => json!({"description": "OK", "schema": {"type": "string"}}),
    };
    json!({
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.id,
        "consumes": consumes,
        "produces": ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"],
        "schemes": ["https"],
        "parameters": parameters,
        "responses": {"200": answer, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": gvk_value(&operation.kind),
    })
}
