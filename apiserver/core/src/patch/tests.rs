use super::*;
use crate::GroupVersionKind;
use crate::options::FieldValidation;
use serde_json::json;

fn run(kind: PatchType, gvk: &GroupVersionKind, current: &Value, text: &str) -> Result<Decoded, ApiError> {
    let target = Target {
        kind: gvk,
        schema: kubeschema::schema_for(&gvk.group, &gvk.version, &gvk.kind),
        validation: FieldValidation::Strict,
    };
    patch(kind, text.as_bytes(), current, target)
}

fn pod_kind() -> GroupVersionKind {
    GroupVersionKind::new("", "v1", "Pod")
}

fn config(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

fn config_kind() -> GroupVersionKind {
    GroupVersionKind::new("", "v1", "ConfigMap")
}

#[test]
fn json_patch_has_every_operation() {
    let current = config(json!({"a": "1", "b": "2"}));
    let patch = json!([
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "test", "path": "/data/zz", "value": null},
        {"op": "add", "path": "/data/x~1y", "value": "3"},
        {"op": "replace", "path": "/data/a", "value": "9"},
        {"op": "move", "from": "/data/b", "path": "/data/c"},
        {"op": "copy", "from": "/data/a", "path": "/data/d"},
        {"op": "remove", "path": "/data/a"},
        {"op": "add", "path": "/metadata/finalizers", "value": ["y"]},
        {"op": "add", "path": "/metadata/finalizers/0", "value": "x"},
        {"op": "add", "path": "/metadata/finalizers/-", "value": "z"},
        {"op": "remove", "path": "/metadata/finalizers/-1"},
    ]);
    let out = run(PatchType::Json, &config_kind(), &current, &patch.to_string())
        .unwrap()
        .value;
    assert_eq!(out["data"], json!({"x/y": "3", "c": "2", "d": "9"}));
    assert_eq!(out["metadata"]["finalizers"], json!(["x", "y"]));
}

#[test]
fn json_patch_that_does_not_apply_is_unprocessable() {
    let current = config(json!({"a": "1"}));
    for patch in [
        json!([{"op": "test", "path": "/data/a", "value": "2"}]),
        json!([{"op": "remove", "path": "/data/zz"}]),
        json!([{"op": "replace", "path": "/data/zz", "value": "2"}]),
        json!([{"op": "add", "path": "/nope/zz", "value": "2"}]),
    ] {
        let error = run(PatchType::Json, &config_kind(), &current, &patch.to_string()).unwrap_err();
        assert_eq!((error.code, error.reason), (422, Reason::Invalid));
        assert_eq!(
            error.message,
            "the server rejected our request due to an error in our request"
        );
    }
    assert_eq!(
        run(PatchType::Json, &config_kind(), &current, "{")
            .unwrap_err()
            .code,
        400
    );
    let many: Vec<Value> = (0..10_001)
        .map(|_| json!({"op": "test", "path": "/data/a", "value": "1"}))
        .collect();
    let error = run(
        PatchType::Json,
        &config_kind(),
        &current,
        &Value::Array(many).to_string(),
    )
    .unwrap_err();
    assert_eq!(error.code, 413);
}

#[test]
fn merge_patch_removes_by_null() {
    let current = config(json!({"a": "1", "b": "2"}));
    let out = run(
        PatchType::Merge,
        &config_kind(),
        &current,
        r#"{"data":{"a":null,"c":"3"}}"#,
    )
    .unwrap()
    .value;
    assert_eq!(out["data"], json!({"b": "2", "c": "3"}));
}

#[test]
fn a_patch_to_unknown_fields_and_wrong_types_is_invalid() {
    let current = config(json!({}));
    let error = run(PatchType::Merge, &config_kind(), &current, r#"{"dat":{}}"#).unwrap_err();
    assert_eq!(error.code, 422);
    assert!(
        error
            .message
            .starts_with(" \"\" is invalid: patch: Invalid value: "),
        "{}",
        error.message
    );
    assert!(
        error
            .message
            .ends_with("strict decoding error: unknown field \"dat\""),
        "{}",
        error.message
    );
    let error = run(
        PatchType::Strategic,
        &config_kind(),
        &current,
        r#"{"data":{"a":1}}"#,
    )
    .unwrap_err();
    assert_eq!(error.code, 422);
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
}

fn strategic(spec: Value, patch: Value) -> Value {
    let text = json!({"spec": patch}).to_string();
    run(PatchType::Strategic, &pod_kind(), &pod(spec), &text)
        .unwrap()
        .value["spec"]
        .take()
}

#[test]
fn lists_merge_by_their_key_and_new_items_come_first() {
    let out = strategic(
        json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
        json!({"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}),
    );
    let names: Vec<&str> = out["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(out["containers"][1]["image"], "2");
    let out = strategic(
        json!({"containers": [{"name": "a"}]}),
        json!({"containers": [{"name": "new"}]}),
    );
    assert_eq!(out["containers"], json!([{"name": "new"}, {"name": "a"}]));
}

#[test]
fn set_element_order_reorders_and_must_match_the_patch() {
    let spec = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]});
    let out = strategic(
        spec.clone(),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
            "containers": [{"name": "a", "image": "2"}]}),
    );
    assert_eq!(
        out["containers"],
        json!([{"name": "b", "image": "1"}, {"name": "a", "image": "2"}])
    );
    let wrong = json!({"spec": {"$setElementOrder/containers": [{"name": "a"}],
        "containers": [{"name": "z"}]}});
    let error = run(PatchType::Strategic, &pod_kind(), &pod(spec), &wrong.to_string()).unwrap_err();
    assert_eq!(error.code, 400);
    assert!(
        error.message.contains("doesn't match $setElementOrder list"),
        "{}",
        error.message
    );
}

#[test]
fn directives_delete_replace_and_retain() {
    let spec = json!({"containers": [{"name": "a"}, {"name": "b"}],
        "volumes": [{"name": "v", "emptyDir": {}}], "nodeSelector": {"x": "1", "y": "2"}});
    let out = strategic(
        spec.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
    );
    assert_eq!(out["containers"], json!([{"name": "b"}]));
    let out = strategic(
        spec.clone(),
        json!({"containers": [{"$patch": "replace"}, {"name": "z"}]}),
    );
    assert_eq!(out["containers"], json!([{"name": "z"}]));
    let out = strategic(
        spec.clone(),
        json!({"nodeSelector": {"$patch": "replace", "z": "3"}}),
    );
    assert_eq!(out["nodeSelector"], json!({"z": "3"}));
    let out = strategic(
        spec.clone(),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}),
    );
    assert_eq!(out["volumes"], json!([{"name": "v", "hostPath": {"path": "/"}}]));
    let out = strategic(spec, json!({"nodeSelector": {"x": null}}));
    assert_eq!(out["nodeSelector"], json!({"y": "2"}));
}

#[test]
fn primitive_lists_merge_as_sets_and_lose_named_items() {
    let current = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "c", "finalizers": ["a", "b"]}});
    let text = r#"{"metadata":{"finalizers":["c","a"]}}"#;
    let out = run(PatchType::Strategic, &config_kind(), &current, text)
        .unwrap()
        .value;
    let mut found: Vec<&str> = out["metadata"]["finalizers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    found.sort_unstable();
    assert_eq!(found, ["a", "b", "c"]);
    let text = r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["a"]}}"#;
    let out = run(PatchType::Strategic, &config_kind(), &current, text)
        .unwrap()
        .value;
    assert_eq!(out["metadata"]["finalizers"], json!(["b"]));
}

#[test]
fn atomic_lists_are_replaced_and_items_need_their_key() {
    let out = strategic(
        json!({"containers": [{"name": "a", "command": ["x", "y"]}], "tolerations": [{"key": "k"}]}),
        json!({"containers": [{"name": "a", "command": ["z"]}], "tolerations": []}),
    );
    assert_eq!(out, json!({"containers": [{"name": "a", "command": ["z"]}]}));
    let text = json!({"spec": {"containers": [{"image": "i"}]}}).to_string();
    let current = pod(json!({"containers": [{"name": "a"}]}));
    let error = run(PatchType::Strategic, &pod_kind(), &current, &text).unwrap_err();
    assert!(
        error
            .message
            .contains("does not contain declared merge key: name"),
        "{}",
        error.message
    );
}
