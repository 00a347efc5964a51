//! One problem of every kind, by way of the strategies: what is told is what upstream tells.

use serde_json::{Value, json};

use crate::field_error::ErrorList;
use crate::strategy::built_in;

fn texts(errors: ErrorList) -> Vec<String> {
    errors.into_iter().map(|error| error.to_string()).collect()
}

fn create(group: &str, plural: &str, mut object: Value) -> Vec<String> {
    let strategy = built_in(group, plural);
    strategy.default(&mut object);
    strategy.prepare_for_create(&mut object);
    texts(strategy.validate(&object))
}

fn update(group: &str, plural: &str, new: &Value, old: &Value) -> Vec<String> {
    texts(built_in(group, plural).validate_update(new, old))
}

/// The good object, with one field replaced in a bad one; a null removes.
fn spoiled(good: &Value, pointer: &str, bad: &Value) -> Value {
    let mut object = good.clone();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[field.parse::<usize>().unwrap()] = bad.clone(),
        parent if bad.is_null() => drop(parent.as_object_mut().unwrap().remove(field)),
        parent => parent[field] = bad.clone(),
    }
    object
}

struct Kind {
    resource: (&'static str, &'static str),
    good: Value,
    /// Where, what, and the start of the one error.
    bad: Vec<(&'static str, Value, &'static str)>,
}

#[expect(
    clippy::too_many_lines,
    reason = "a table of all kinds reads best in one piece"
)]
fn kinds() -> Vec<Kind> {
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let selector = json!({"matchLabels": {"a": "b"}});
    vec![
        Kind {
            resource: ("apps", "deployments"),
            good: json!({"metadata": {"name": "x"}, "spec": {"selector": selector, "template": template, "strategy": {}}}),
            bad: vec![
                ("/spec/selector", json!(null), "spec.selector: Required value"),
                (
                    "/spec/selector",
                    json!({}),
                    "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
                ),
                (
                    "/spec/selector",
                    json!({"matchLabels": {"a": "c"}}),
                    "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
                ),
                (
                    "/spec/replicas",
                    json!(-1),
                    "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                ),
                (
                    "/spec/strategy/rollingUpdate",
                    json!({"maxUnavailable": 0, "maxSurge": "0%"}),
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
                ),
                (
                    "/spec/template/spec/restartPolicy",
                    json!("Never"),
                    "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
                ),
                (
                    "/spec/template/spec/containers/0/image",
                    json!(""),
                    "spec.template.spec.containers[0].image: Required value",
                ),
            ],
        },
        Kind {
            resource: ("apps", "daemonsets"),
            good: json!({"metadata": {"name": "x"}, "spec": {"selector": selector, "template": template, "updateStrategy": {}}}),
            bad: vec![(
                "/spec/updateStrategy/rollingUpdate",
                json!({"maxUnavailable": 1, "maxSurge": 1}),
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
            )],
        },
        Kind {
            resource: ("apps", "statefulsets"),
            good: json!({"metadata": {"name": "x"}, "spec": {"selector": selector, "serviceName": "s",
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i",
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}}}}]}}),
            bad: vec![
                (
                    "/spec/podManagementPolicy",
                    json!("Odd"),
                    "spec.podManagementPolicy: Invalid value: \"Odd\": must be 'OrderedReady' or 'Parallel'",
                ),
                (
                    "/spec/volumeClaimTemplates",
                    json!([]),
                    "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"",
                ),
            ],
        },
        Kind {
            resource: ("", "replicationcontrollers"),
            good: json!({"metadata": {"name": "x"}, "spec": {"selector": {"a": "b"}, "template": template}}),
            bad: vec![(
                "/spec/selector",
                json!({"a": "c"}),
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            )],
        },
        Kind {
            resource: ("", "endpoints"),
            good: json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
            bad: vec![
                (
                    "/subsets/0/addresses",
                    json!([]),
                    "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
                ),
                (
                    "/subsets/0/addresses/0/ip",
                    json!("169.254.1.1"),
                    "subsets[0].addresses[0].ip: Invalid value: \"169.254.1.1\": may not be in the link-local range",
                ),
            ],
        },
        Kind {
            resource: ("discovery.k8s.io", "endpointslices"),
            good: json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}),
            bad: vec![
                ("/addressType", json!(null), "addressType: Required value"),
                (
                    "/endpoints/0/addresses",
                    json!([]),
                    "endpoints[0].addresses: Required value: must contain at least 1 address",
                ),
                (
                    "/endpoints/0/addresses/0",
                    json!("fd00::1"),
                    "endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be a valid IPv4 address",
                ),
                (
                    "/ports",
                    json!([{"port": 1}, {"port": 2}]),
                    "ports[1].name: Duplicate value: \"\"",
                ),
            ],
        },
        Kind {
            resource: ("", "configmaps"),
            good: json!({"metadata": {"finalizers": ["a.b/c"]}, "data": {"a.b": "c"}, "binaryData": {"d": "AA=="}}),
            bad: vec![
                (
                    "/metadata/finalizers/0",
                    json!("abc"),
                    "metadata.finalizers[0]: Invalid value: \"abc\": name is neither a standard finalizer name",
                ),
                (
                    "/binaryData",
                    json!({"a.b": ""}),
                    "data[a.b]: Invalid value: \"a.b\": duplicate of key present in binaryData",
                ),
            ],
        },
        Kind {
            resource: ("", "secrets"),
            good: json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "AA==", "tls.key": "AA=="}}),
            bad: vec![(
                "/data",
                json!({"tls.crt": "AA=="}),
                "data[tls.key]: Required value",
            )],
        },
        Kind {
            resource: ("", "nodes"),
            good: json!({"spec": {"podCIDRs": ["10.0.0.0/24"], "taints": [{"key": "a", "effect": "NoSchedule"}]}}),
            bad: vec![
                (
                    "/spec/podCIDRs/0",
                    json!("10.0.0.0"),
                    "spec.podCIDRs[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR value",
                ),
                (
                    "/spec/taints/0/effect",
                    json!("Never"),
                    "metadata.taints[0].effect: Unsupported value: \"Never\"",
                ),
            ],
        },
        Kind {
            resource: ("", "events"),
            good: json!({"metadata": {"namespace": "ns"}, "involvedObject": {"namespace": "ns"}}),
            bad: vec![(
                "/involvedObject/namespace",
                json!("other"),
                "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace",
            )],
        },
        Kind {
            resource: ("coordination.k8s.io", "leases"),
            good: json!({"spec": {"leaseDurationSeconds": 15}}),
            bad: vec![(
                "/spec/leaseDurationSeconds",
                json!(0),
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            )],
        },
        Kind {
            resource: ("rbac.authorization.k8s.io", "clusterroles"),
            good: json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
                {"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]}),
            bad: vec![
                (
                    "/rules/0/verbs",
                    json!([]),
                    "rules[0].verbs: Required value: verbs must contain at least one value",
                ),
                (
                    "/rules/0/apiGroups",
                    json!([]),
                    "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                ),
            ],
        },
        Kind {
            resource: ("rbac.authorization.k8s.io", "rolebindings"),
            good: json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}),
            bad: vec![
                ("/roleRef/name", json!(""), "roleRef.name: Required value"),
                (
                    "/subjects/0/kind",
                    json!("Robot"),
                    "subjects[0].kind: Unsupported value: \"Robot\"",
                ),
            ],
        },
        Kind {
            resource: ("", "persistentvolumeclaims"),
            good: json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
            bad: vec![
                (
                    "/spec/accessModes",
                    json!([]),
                    "spec.accessModes: Required value: at least 1 access mode is required",
                ),
                (
                    "/spec/resources/requests/storage",
                    json!("0"),
                    "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
                ),
            ],
        },
        Kind {
            resource: ("", "persistentvolumes"),
            good: json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}}}),
            bad: vec![
                (
                    "/spec/hostPath",
                    json!(null),
                    "spec: Required value: must specify a volume type",
                ),
                (
                    "/spec/local",
                    json!({"path": "/b"}),
                    "spec.local: Forbidden: may not specify more than 1 volume type",
                ),
            ],
        },
        Kind {
            resource: ("storage.k8s.io", "storageclasses"),
            good: json!({"provisioner": "example.com/disk"}),
            bad: vec![("/provisioner", json!(""), "provisioner: Required value")],
        },
        Kind {
            resource: ("certificates.k8s.io", "certificatesigningrequests"),
            good: json!({"spec": {"signerName": "example.com/s", "usages": ["client auth"],
                "request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K"}}),
            bad: vec![
                ("/spec/usages", json!([]), "spec.usages: Required value"),
                (
                    "/spec/request",
                    json!("AA=="),
                    "spec.request: Invalid value: \"AA==\": PEM block type must be CERTIFICATE REQUEST",
                ),
                (
                    "/spec/expirationSeconds",
                    json!(1),
                    "spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 600 seconds (10 minutes)",
                ),
            ],
        },
        Kind {
            resource: ("policy", "poddisruptionbudgets"),
            good: json!({"spec": {"minAvailable": "50%", "selector": {}}}),
            bad: vec![
                (
                    "/spec/minAvailable",
                    json!("150%"),
                    "spec.minAvailable: Invalid value: \"150%\": must not be greater than 100%",
                ),
                ("/spec/maxUnavailable", json!(1), "spec: Invalid value: {"),
            ],
        },
        Kind {
            resource: ("autoscaling", "horizontalpodautoscalers"),
            good: json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}}),
            bad: vec![
                (
                    "/spec/minReplicas",
                    json!(5),
                    "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
                ),
                (
                    "/spec/scaleTargetRef/kind",
                    json!(""),
                    "spec.scaleTargetRef.kind: Required value",
                ),
                (
                    "/spec/metrics",
                    json!([{"type": "Magic"}]),
                    "spec.metrics[0].type: Unsupported value: \"Magic\"",
                ),
            ],
        },
        Kind {
            resource: ("networking.k8s.io", "ingresses"),
            good: json!({"spec": {"rules": [{"host": "*.a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
            bad: vec![
                (
                    "/spec/rules",
                    json!([]),
                    "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified",
                ),
                (
                    "/spec/rules/0/http/paths/0/pathType",
                    json!(null),
                    "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
                ),
                (
                    "/spec/rules/0/http/paths/0/path",
                    json!("a"),
                    "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path",
                ),
            ],
        },
        Kind {
            resource: ("networking.k8s.io", "networkpolicies"),
            good: json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8",
                "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80, "endPort": 90}]}]}}),
            bad: vec![
                (
                    "/spec/ingress/0/from/0",
                    json!({}),
                    "spec.ingress[0].from[0]: Required value: must specify a peer",
                ),
                (
                    "/spec/ingress/0/from/0/ipBlock/except/0",
                    json!("11.0.0.0/16"),
                    "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
                ),
                (
                    "/spec/ingress/0/ports/0/endPort",
                    json!(70),
                    "spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`",
                ),
            ],
        },
        Kind {
            resource: ("node.k8s.io", "runtimeclasses"),
            good: json!({"handler": "runc", "overhead": {"podFixed": {"cpu": "100m"}}}),
            bad: vec![(
                "/handler",
                json!("a.b"),
                "handler: Invalid value: \"a.b\": must not contain dots",
            )],
        },
        Kind {
            resource: ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
            good: json!({"webhooks": [{"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"service": {"name": "s", "namespace": "n", "path": "/p"}},
                "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}]}),
            bad: vec![
                (
                    "/webhooks/0/name",
                    json!("a.b"),
                    "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
                ),
                (
                    "/webhooks/0/sideEffects",
                    json!("Some"),
                    "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
                ),
                (
                    "/webhooks/0/timeoutSeconds",
                    json!(31),
                    "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                ),
                (
                    "/webhooks/0/clientConfig",
                    json!({"url": "http://a"}),
                    "webhooks[0].clientConfig.url: Invalid value: \"http://a\": 'https' is the only allowed URL scheme",
                ),
            ],
        },
    ]
}

#[test]
fn every_kind_takes_what_is_right_and_names_what_is_wrong() {
    for Kind {
        resource: (group, plural),
        good,
        bad,
    } in kinds()
    {
        assert_eq!(
            create(group, plural, good.clone()),
            Vec::<String>::new(),
            "{plural}"
        );
        for (pointer, value, expected) in bad {
            let errors = create(group, plural, spoiled(&good, pointer, &value));
            assert_eq!(errors.len(), 1, "{plural} {pointer}: {errors:?}");
            assert!(
                errors[0].starts_with(expected),
                "{plural} {pointer}: {}",
                errors[0]
            );
        }
    }
}

#[test]
fn what_may_not_change_is_refused() {
    let cases = [
        (
            ("apps", "deployments"),
            json!({"matchLabels": {"a": "c"}}),
            "/spec/selector",
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable",
        ),
        (
            ("apps", "statefulsets"),
            json!("t"),
            "/spec/serviceName",
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template'",
        ),
        (
            ("rbac.authorization.k8s.io", "rolebindings"),
            json!("s"),
            "/roleRef/name",
            "roleRef: Invalid value: {",
        ),
        (
            ("", "persistentvolumeclaims"),
            json!(["ReadOnlyMany"]),
            "/spec/accessModes",
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName",
        ),
        (
            ("", "persistentvolumes"),
            json!("/b"),
            "/spec/hostPath/path",
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
        ),
        (
            ("storage.k8s.io", "storageclasses"),
            json!("other.com/disk"),
            "/provisioner",
            "provisioner: Forbidden: updates to provisioner are forbidden.",
        ),
        (
            ("discovery.k8s.io", "endpointslices"),
            json!("FQDN"),
            "/addressType",
            "addressType: Invalid value: \"FQDN\": field is immutable",
        ),
        (
            ("node.k8s.io", "runtimeclasses"),
            json!("kata"),
            "/handler",
            "handler: Invalid value: \"kata\": field is immutable",
        ),
        (
            ("", "nodes"),
            json!(["10.1.0.0/24"]),
            "/spec/podCIDRs",
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
        ),
    ];
    for ((group, plural), value, pointer, expected) in cases {
        let mut old = kinds()
            .into_iter()
            .find(|kind| kind.resource == (group, plural))
            .map(|kind| kind.good)
            .unwrap();
        built_in(group, plural).default(&mut old);
        assert_eq!(
            update(group, plural, &old, &old),
            Vec::<String>::new(),
            "{plural}"
        );
        let errors = update(group, plural, &spoiled(&old, pointer, &value), &old);
        assert!(!errors.is_empty(), "{plural} {pointer}");
        assert!(errors[0].starts_with(expected), "{plural}: {}", errors[0]);
    }
}

#[test]
fn claims_are_bound_once_and_grow() {
    let mut old = json!({"spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": "2Gi"}}}, "status": {"phase": "Pending"}});
    let mut bound = old.clone();
    bound["spec"]["volumeName"] = json!("v");
    bound["spec"]["storageClassName"] = json!("c");
    assert_eq!(
        update("", "persistentvolumeclaims", &bound, &old),
        Vec::<String>::new()
    );
    old = bound;
    old["status"] = json!({"phase": "Bound", "capacity": {"storage": "2Gi"}});
    let sized = |size: &str| {
        let mut claim = old.clone();
        claim["spec"]["resources"]["requests"]["storage"] = json!(size);
        update("", "persistentvolumeclaims", &claim, &old)
    };
    assert_eq!(sized("3Gi"), Vec::<String>::new());
    assert_eq!(
        sized("1Gi"),
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    );
}
