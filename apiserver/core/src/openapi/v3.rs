//! OpenAPI v3: one document a group-version.

use serde_json::{Map, Value, json};

use super::CustomSchemas;
use super::definitions::{PATCH, REF, gvk_value, of_resources};
use super::parameters::{PRETTY, Parameter};
use super::rest::{Operation, Path, paths};
use crate::discovery::CatalogVersion;
use crate::patch::PatchType;
use crate::resource::Resource;

const MEDIA_TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

pub(super) fn document(version: Option<&CatalogVersion>, custom: &CustomSchemas) -> Value {
    let resources: Vec<&Resource> = version
        .iter()
        .flat_map(|v| v.resources.iter().map(|r| r.as_ref()))
        .collect();
    let mut path_map = Map::new();
    for path in resources.iter().flat_map(|resource| paths(resource)) {
        path_map.insert(path.path.clone(), path_item(&path, &resources));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": super::v2::VERSION},
        "paths": path_map,
        "components": {
            "schemas": of_resources(&resources, custom).map,
            "securitySchemes": {"BearerToken": {"type": "apiKey", "in": "header", "name": "authorization",
                "description": "Bearer Token authentication"}},
        },
    })
}

fn path_item(path: &Path, resources: &[&Resource]) -> Value {
    let mut item = Map::new();
    let mut shared = Vec::new();
    for (there, name, what) in [
        (path.named, "name", "the name of the object"),
        (path.namespaced, "namespace", "the namespace of the object"),
    ] {
        if there {
            shared.push(
                json!({"name": name, "in": "path", "description": what, "required": true,
                "schema": {"type": "string", "uniqueItems": true}}),
            );
        }
    }
    shared.push(query(&PRETTY));
    item.insert("parameters".to_owned(), shared.into());
    for operation in &path.operations {
        item.insert(operation.method.to_owned(), operation_value(operation, resources));
    }
    Value::Object(item)
}

fn query(parameter: &Parameter) -> Value {
    json!({"name": parameter.name, "in": "query", "description": parameter.description,
        "schema": {"type": parameter.ty, "uniqueItems": true}})
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{REF}{name}")})
}

fn operation_value(operation: &Operation, resources: &[&Resource]) -> Value {
    let parameters: Vec<Value> = operation.parameters.iter().map(|p| query(p)).collect();
    let answer = match &operation.answer {
        Some(name) => {
            let content: Map<String, Value> = MEDIA_TYPES
                .iter()
                .map(|media| ((*media).to_owned(), json!({"schema": reference(name)})))
                .collect();
            json!({"description": "OK", "content": content})
        }
        None => json!({"description": "OK", "content": {"*/*": {"schema": {"type": "string"}}}}),
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), answer.clone());
    if operation.action == "post" {
        responses.insert("201".to_owned(), with_description(&answer, "Created"));
        responses.insert("202".to_owned(), with_description(&answer, "Accepted"));
    } else if ["put", "patch"].contains(&operation.action) {
        responses.insert("201".to_owned(), with_description(&answer, "Created"));
    }
    responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    let mut value = json!({
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.id,
        "parameters": parameters,
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": gvk_value(&operation.kind),
    });
    if let Some(body) = &operation.body {
        let custom = resources.iter().any(|r| r.custom && r.gvk() == operation.kind);
        let media: Vec<&str> = if body == PATCH {
            PatchType::ACCEPTED
                .into_iter()
                .filter(|media| !custom || !media.contains("strategic"))
                .collect()
        } else {
            vec!["*/*"]
        };
        let content: Map<String, Value> = media
            .into_iter()
            .map(|m| (m.to_owned(), json!({"schema": reference(body)})))
            .collect();
        value["requestBody"] = json!({"content": content});
        if operation.action != "delete" && operation.action != "deletecollection" {
            value["requestBody"]["required"] = true.into();
        }
    }
    value
}

fn with_description(answer: &Value, description: &str) -> Value {
    let mut answer = answer.clone();
    answer["description"] = description.into();
    answer
}
