use super::*;
use crate::registry::Registry;

fn documents() -> OpenApi {
    OpenApi::new(Catalog::new(&Registry::built_in()), CustomSchemas::new())
}

fn json_of(compressed: &Compressed) -> Value {
    serde_json::from_slice(&compressed.plain()).unwrap()
}

/// Every reference of a document leads somewhere.
fn check_references(value: &Value, prefix: &str, definitions: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                let name = reference
                    .strip_prefix(prefix)
                    .unwrap_or_else(|| panic!("{reference}"));
                assert!(definitions.get(name).is_some(), "{reference}");
            }
            map.values()
                .for_each(|below| check_references(below, prefix, definitions));
        }
        Value::Array(list) => list
            .iter()
            .for_each(|below| check_references(below, prefix, definitions)),
        _ => {}
    }
}

#[test]
fn the_index_names_every_group_version_with_its_hash() {
    let documents = documents();
    let index: Value = serde_json::from_slice(&documents.v3_index().body).unwrap();
    let paths = index["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 22);
    let hash = documents.v3_hash("apis/apps/v1").unwrap();
    assert_eq!(
        paths["apis/apps/v1"]["serverRelativeURL"],
        format!("/openapi/v3/apis/apps/v1?hash={hash}")
    );
    assert!(documents.v3("apis/nope/v1").is_none());
}

#[test]
fn a_v3_document_has_what_kubectl_looks_for() {
    let documents = documents();
    let document = json_of(&documents.v3("apis/apps/v1").unwrap());
    let schemas = &document["components"]["schemas"];
    check_references(&document, "#/components/schemas/", schemas);
    let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    let spec = &deployment["properties"]["spec"];
    assert_eq!(
        spec["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"
    );
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-type"], "map");
    assert!(
        containers["description"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    assert_eq!(
        schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"],
        "int-or-string"
    );
    assert!(schemas["io.k8s.api.apps.v1.DeploymentList"]["properties"]["items"].is_object());
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(
        parameters
            .iter()
            .any(|p| p["name"] == "fieldValidation" && p["in"] == "query")
    );
    let scale = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["put"];
    assert_eq!(scale["x-kubernetes-group-version-kind"]["group"], "autoscaling");
}

#[test]
fn every_document_is_closed_and_small_when_kept() {
    let documents = documents();
    let mut kept = 0;
    for path in documents.entries.keys() {
        let compressed = documents.v3(path).unwrap();
        kept += compressed.gzip.len();
        let document = json_of(&compressed);
        check_references(
            &document,
            "#/components/schemas/",
            &document["components"]["schemas"],
        );
    }
    assert!(kept < 2_000_000, "{kept}");
    let v2 = json_of(&documents.v2());
    check_references(&v2, "#/definitions/", &v2["definitions"]);
    assert_eq!(
        v2["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"]["type"],
        "string"
    );
    let props =
        &v2["definitions"]["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"];
    assert_eq!(props["properties"]["$ref"]["type"], "string");
    assert_eq!(props["properties"]["allOf"]["type"], "array");
    assert!(
        documents
            .v2_protobuf()
            .plain()
            .starts_with(&[0x0a, 3, b'2', b'.', b'0'])
    );
}

#[test]
fn custom_resources_join_and_the_other_documents_stay() {
    let before = documents();
    let apps = before.v3("apis/apps/v1").unwrap();
    let mut registry = Registry::built_in();
    let mut toy = (**registry.lookup("apps", "v1", "deployments").unwrap()).clone();
    toy.gvr = crate::GroupVersionResource::new("example.com", "v1", "toys");
    toy.kind = "Toy".to_owned();
    toy.list_kind = "ToyList".to_owned();
    toy.custom = true;
    let gvk = toy.gvk();
    registry.insert(toy);
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "nullable": true,
        "description": "What it is", "properties": {"size": {"anyOf": [{"type": "integer"}]}}}}});
    let after = before.changed(Catalog::new(&registry), CustomSchemas::from([(gvk, schema)]));
    assert!(Arc::ptr_eq(&apps, &after.v3("apis/apps/v1").unwrap()));
    let document = json_of(&after.v3("apis/example.com/v1").unwrap());
    check_references(
        &document,
        "#/components/schemas/",
        &document["components"]["schemas"],
    );
    let toy = &document["components"]["schemas"]["com.example.v1.Toy"];
    assert_eq!(toy["properties"]["spec"]["description"], "What it is");
    assert_eq!(toy["x-kubernetes-group-version-kind"][0]["kind"], "Toy");
    let patch = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/toys/{name}"]["patch"];
    assert!(
        patch["requestBody"]["content"]
            .get("application/strategic-merge-patch+json")
            .is_none()
    );
}
