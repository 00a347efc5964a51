//! Hand-made messages, round trips of real objects, hostile bytes.

use super::*;
use crate::GroupVersionKind;
use serde_json::{Value, json};

/// `[number, bytes]` as a length-delimited field.
fn nested(number: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    writer::bytes_field(&mut out, number, body);
    out
}

fn number(field: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    writer::varint_field(&mut out, field, value);
    out
}

fn deployment() -> GroupVersionKind {
    GroupVersionKind::new("apps", "v1", "Deployment")
}

#[test]
fn what_a_go_client_sends_becomes_the_json_it_stands_for() {
    let text = |n: u32, s: &str| nested(n, s.as_bytes());
    // metadata: name, an empty namespace and uid, generation 0, the zero time, one label
    let label = [text(1, "app"), text(2, "web")].concat();
    let meta = [
        text(1, "web"),
        text(3, ""),
        text(5, ""),
        number(7, 0),
        nested(8, &[]),
        nested(11, &label),
    ]
    .concat();
    // one container: name, image, a port, empty resources, stdin false; a volume with emptyDir
    let port = [
        text(1, ""),
        number(2, 0),
        number(3, 80),
        text(4, "TCP"),
        text(5, ""),
    ]
    .concat();
    let container = [
        text(1, "c"),
        text(2, "nginx"),
        nested(6, &port),
        nested(8, &[]),
        number(16, 0),
    ]
    .concat();
    let volume = [text(1, "tmp"), nested(2, &nested(2, &text(1, "")))].concat();
    let pod_spec = [nested(1, &volume), nested(2, &container), number(4, 0)].concat();
    let template = [nested(1, &[]), nested(2, &pod_spec)].concat();
    let spec = [
        number(1, 0),
        nested(3, &template),
        nested(4, &[]),
        number(5, 0),
        number(7, 0),
    ]
    .concat();
    let raw = [nested(1, &meta), nested(2, &spec), nested(3, &[])].concat();
    let (gvk, value) = decode(&seal(&deployment(), &raw)).expect("a deployment");
    assert_eq!(gvk, deployment());
    assert_eq!(
        value,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {
                "replicas": 0,
                "strategy": {},
                "template": {
                    "metadata": {},
                    "spec": {
                        "terminationGracePeriodSeconds": 0,
                        "containers": [{"name": "c", "image": "nginx", "resources": {},
                            "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
                        "volumes": [{"name": "tmp", "emptyDir": {}}],
                    },
                },
            },
            "status": {},
        })
    );
}

#[test]
fn special_values_round_trip() {
    let objects = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s",
            "creationTimestamp": "2024-02-03T04:05:06Z",
            "managedFields": [{"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "time": "2024-02-03T04:05:06Z", "fieldsV1": {"f:data": {".": {}, "f:a": {}}}}]},
            "data": {"a": "aGVsbG8=", "empty": ""}, "type": "Opaque"}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [
            {"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 81, "targetPort": "web"}]}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": 15, "renewTime": "2024-02-03T04:05:06.000007Z"}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "c", "resources": {"limits": {"cpu": "100m"}},
             "livenessProbe": {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 3},
             "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}],
            "ephemeralContainers": [{"name": "d", "image": "i", "targetContainerName": "c"}]}}),
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "r"},
            "data": {"spec": [1, 2.5, null]}, "revision": 3}),
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
            "spec": {"user": "u", "extra": {"k": ["a", "b"]}}, "status": {"allowed": false}}),
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "c"},
            "spec": {"group": "g", "scope": "Namespaced", "names": {"plural": "toys", "kind": "Toy"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object",
                        "x-kubernetes-preserve-unknown-fields": true, "$ref": "x",
                        "additionalProperties": {"type": "array", "items": {"type": "string", "maximum": 1.5}},
                        "default": {"a": [true]}}}}}}]}}),
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "preconditions": {"uid": "u"}, "propagationPolicy": "Orphan", "dryRun": ["All"]}),
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "reason": "NotFound",
            "details": {"name": "x", "causes": [{"reason": "r", "message": "m", "field": "f"}]}, "code": 404}),
        json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7"},
            "items": [{"metadata": {"name": "a"}, "data": {"k": "v"}}]}),
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"},
            "deleteOptions": {"gracePeriodSeconds": 5}}),
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "p"},
            "spec": {"replicas": 3}, "status": {"replicas": 0, "selector": "a=b"}}),
    ];
    for object in objects {
        let bytes = encode(&object).unwrap_or_else(|e| panic!("{}: {e}", object["kind"]));
        let (_, back) = decode(&bytes).unwrap_or_else(|e| panic!("{}: {e}", object["kind"]));
        assert_eq!(back, object);
    }
}

#[test]
fn start_up_objects_round_trip() {
    let kinds = [
        ("clusterroles", "rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rolebindings", "rbac.authorization.k8s.io/v1", "RoleBinding"),
        ("flowschemas", "flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
        (
            "prioritylevelconfigurations",
            "flowcontrol.apiserver.k8s.io/v1",
            "PriorityLevelConfiguration",
        ),
        ("namespaces", "v1", "Namespace"),
        ("apiservices", "apiregistration.k8s.io/v1", "APIService"),
        ("endpointslices", "discovery.k8s.io/v1", "EndpointSlice"),
    ];
    for (resource, api_version, kind) in kinds {
        for object in crate::startup_objects_of(resource, api_version, kind) {
            let bytes = encode(&object).expect("writable");
            assert_eq!(
                without_empty_lists(decode(&bytes).expect("readable").1),
                without_empty_lists(object)
            );
        }
    }
}

/// An empty list has no form on the wire.
fn without_empty_lists(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, v)| v.as_array().is_none_or(|a| !a.is_empty()) && !v.is_null())
            .map(|(k, v)| (k, without_empty_lists(v)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_empty_lists).collect(),
        other => other,
    }
}

#[test]
fn hostile_bytes_give_errors_and_never_panic() {
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1}]}]}});
    let good = encode(&object).expect("writable");
    for end in 0..good.len() {
        let _ = decode(&good[..end]);
    }
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = 4 + (state >> 33) as usize % (bytes.len() - 4);
            bytes[at] = (state >> 20) as u8;
        }
        let _ = decode(&bytes);
    }
    assert_eq!(decode(b"{}"), Err(ProtobufError::NotProtobuf));
    let unknown = GroupVersionKind::new("example.com", "v1", "Toy");
    assert!(matches!(
        decode(&seal(&unknown, b"")),
        Err(ProtobufError::UnknownKind { .. })
    ));
}

#[test]
fn nesting_is_limited() {
    let mut schema = Vec::new();
    for _ in 0..400 {
        // JSONSchemaProps.not is field 28
        schema = nested(28, &schema);
    }
    let version = nested(4, &nested(1, &schema));
    let raw = nested(2, &nested(7, &version));
    let gvk = GroupVersionKind::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    assert_eq!(decode(&seal(&gvk, &raw)), Err(ProtobufError::TooDeep));
}
