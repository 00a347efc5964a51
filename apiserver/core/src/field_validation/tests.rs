use super::*;
use serde_json::json;

fn deployment() -> GroupVersionKind {
    GroupVersionKind::new("apps", "v1", "Deployment")
}

fn read(
    kind: &GroupVersionKind,
    body: &str,
    format: BodyFormat,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let schema = kubeschema::schema_for(&kind.group, &kind.version, &kind.kind);
    let target = Target {
        kind,
        schema,
        validation,
    };
    decode(body.as_bytes(), format, target)
}

const ODD: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"unknown1":1,
    "paused":true,"paused":false,"template":{"spec":{"containers":[{"name":"c","unknownNested":"x",
    "imagePullPolicy":"Always","imagePullPolicy":"Never"}]}}}}"#;

#[test]
fn strict_decoding_names_unknown_and_repeated_fields_in_their_order() {
    let error = read(&deployment(), ODD, BodyFormat::Json, FieldValidation::Strict).unwrap_err();
    assert_eq!(error.code, 400);
    assert_eq!(
        error.message,
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \
         \"spec.unknown1\", duplicate field \"spec.paused\", unknown field \
         \"spec.template.spec.containers[0].unknownNested\", duplicate field \
         \"spec.template.spec.containers[0].imagePullPolicy\""
    );
}

#[test]
fn warnings_and_ignoring_drop_unknown_fields_and_keep_the_last_value() {
    let warned = read(&deployment(), ODD, BodyFormat::Json, FieldValidation::Warn).unwrap();
    assert_eq!(warned.warnings.len(), 4);
    assert_eq!(warned.warnings[0], "unknown field \"spec.unknown1\"");
    let container = &warned.value["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(*container, json!({"name": "c", "imagePullPolicy": "Never"}));
    let ignored = read(&deployment(), ODD, BodyFormat::Json, FieldValidation::Ignore).unwrap();
    assert!(ignored.warnings.is_empty());
    assert_eq!(ignored.value, warned.value);
}

#[test]
fn wrong_types_read_as_in_upstream() {
    let cases = [
        (
            json!({"spec": {"replicas": "3"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": {"name": "c"}}}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type \
             []v1.Container",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "much"}}}]}}}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ];
    for (body, text) in cases {
        let error = read(
            &deployment(),
            &body.to_string(),
            BodyFormat::Json,
            FieldValidation::Ignore,
        )
        .unwrap_err();
        assert_eq!(
            error.message,
            format!("Deployment in version \"v1\" cannot be handled as a Deployment: {text}")
        );
    }
}

#[test]
fn the_normal_form_is_what_typed_objects_print() {
    let body = json!({
        "metadata": {"name": "d", "namespace": "", "labels": {}, "creationTimestamp": null, "generation": 0,
            "annotations": {"empty": ""}},
        "spec": {"replicas": 0, "minReadySeconds": 0, "paused": false, "strategy": {},
            "template": {"spec": {"volumes": [{"name": "v", "emptyDir": {}}], "tolerations": [],
                "containers": [{"name": "c", "resources": {"requests": {"cpu": 0.5, "memory": "1024Mi"}}}]}}},
    });
    let decoded = read(
        &deployment(),
        &body.to_string(),
        BodyFormat::Json,
        FieldValidation::Strict,
    )
    .unwrap();
    assert_eq!(
        decoded.value,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "annotations": {"empty": ""}},
            "spec": {"replicas": 0, "strategy": {}, "template": {"spec": {
                "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "c", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}]}}},
        })
    );
}

#[test]
fn yaml_and_protobuf_give_the_same_object_as_json() {
    let kind = GroupVersionKind::new("", "v1", "ConfigMap");
    let value =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"1": "x"}});
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  1: x\n";
    let read_yaml = read(&kind, yaml, BodyFormat::Yaml, FieldValidation::Strict).unwrap();
    assert_eq!(read_yaml.value, value);
    let target = Target {
        kind: &kind,
        schema: kubeschema::schema_for("", "v1", "ConfigMap"),
        validation: FieldValidation::Strict,
    };
    let bytes = kubeschema::protobuf::encode(&value).unwrap();
    assert_eq!(decode(&bytes, BodyFormat::Protobuf, target).unwrap().value, value);
    let twice = "kind: ConfigMap\ndata: {a: x, a: y}\n";
    let error = read(&kind, twice, BodyFormat::Yaml, FieldValidation::Strict).unwrap_err();
    assert!(
        error.message.contains("duplicate field \"data.a\""),
        "{}",
        error.message
    );
}

#[test]
fn other_kinds_and_broken_text_are_refused() {
    let broken = read(&deployment(), "{\"a\":", BodyFormat::Json, FieldValidation::Warn).unwrap_err();
    assert_eq!(broken.code, 400);
    assert!(
        broken
            .message
            .starts_with("the object provided is unrecognized (must be of type Deployment)")
    );
    let pod = r#"{"apiVersion":"v1","kind":"Pod"}"#;
    assert_eq!(
        read(&deployment(), pod, BodyFormat::Json, FieldValidation::Warn)
            .unwrap_err()
            .code,
        400
    );
    let version = r#"{"apiVersion":"apps/v1beta1","kind":"Deployment"}"#;
    assert_eq!(
        read(&deployment(), version, BodyFormat::Json, FieldValidation::Warn)
            .unwrap_err()
            .message,
        "the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)"
    );
}

#[test]
fn custom_resources_are_pruned_and_otherwise_left_alone() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer"}, "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}});
    let kind = GroupVersionKind::new("example.com", "v1", "Toy");
    let table = kubeschema::custom::table(kind.clone(), Some(&schema));
    let target = Target {
        kind: &kind,
        schema: table.schema_for("example.com", "v1", "Toy"),
        validation: FieldValidation::Warn,
    };
    let body = json!({"metadata": {"name": "t", "oops": 1},
        "spec": {"size": "big", "empty": [], "free": {"any": [null, {}]}}});
    let decoded = decode(body.to_string().as_bytes(), BodyFormat::Json, target).unwrap();
    assert_eq!(
        decoded.warnings,
        ["unknown field \"metadata.oops\"", "unknown field \"spec.empty\""]
    );
    assert_eq!(
        decoded.value["spec"],
        json!({"size": "big", "free": {"any": [null, {}]}})
    );
}
