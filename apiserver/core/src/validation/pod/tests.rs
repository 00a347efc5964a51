use serde_json::{Value, json};

use super::{create, ephemeral_containers, resize, status, template, update};
use crate::defaults;
use crate::field_error::{ErrorList, FieldPath};
use crate::tree;

fn pod() -> Value {
    json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": {"serviceAccountName": "default",
        "containers": [{"name": "c", "image": "i", "resources": {}}]}})
}

/// The pod with `value` set at a path of its spec (`0` as a list index), after defaulting.
fn with(path: &str, value: Value) -> Value {
    let mut pod = pod();
    let pointer = format!("/spec/{path}");
    if let Some(place) = pod.pointer_mut(&pointer) {
        *place = value;
    } else {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[field] = value;
    }
    defaults::apply("", "pods", &mut pod);
    pod
}

fn texts(errors: ErrorList) -> Vec<String> {
    errors.into_iter().map(|error| error.to_string()).collect()
}

#[test]
fn a_full_pod_is_valid() {
    let mut pod = json!({
        "metadata": {"name": "web", "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}},
        "spec": {
            "serviceAccountName": "default", "hostname": "a", "subdomain": "b", "priorityClassName": "high",
            "initContainers": [
                {"name": "init", "image": "i"},
                {"name": "side", "image": "i", "restartPolicy": "Always",
                    "readinessProbe": {"httpGet": {"port": "http"}}},
            ],
            "containers": [{
                "name": "c", "image": "i:1",
                "ports": [{"name": "http", "containerPort": 80, "hostPort": 80}],
                "env": [{"name": "A.b c", "value": "x"},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}},
                    {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                    {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "m"}}],
                "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/b"}, {"name": "t", "mountPath": "/t"}],
                "livenessProbe": {"exec": {"command": ["true"]}},
                "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                "resources": {"requests": {"cpu": "1", "example.com/gpu": "2"},
                    "limits": {"cpu": "2", "memory": "1Gi", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"}},
                "securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            }],
            "volumes": [{"name": "v"}, {"name": "t", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "ca", "items": [
                    {"key": "ca.crt", "path": "ca.crt"}]}}, {"downwardAPI": {"items": [
                    {"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}],
            "tolerations": [{"operator": "Exists"}, {"key": "k", "operator": "Equal", "value": "v",
                "effect": "NoExecute", "tolerationSeconds": 5}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}],
                     "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]}},
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1,
                    "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {}}}]}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
                "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"a": "b"}}}],
            "dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1"], "searches": ["a.b.", "_x.y", "."]},
        },
    });
    defaults::apply("", "pods", &mut pod);
    assert_eq!(texts(create(&pod)), Vec::<String>::new());
}

#[test]
fn problems_of_a_pod_read_as_upstream() {
    let cases = [
        ("containers", json!([]), "spec.containers: Required value"),
        (
            "containers/0/name",
            json!("X"),
            "spec.containers[0].name: Invalid value: \"X\": a lowercase RFC 1123 label must consist of",
        ),
        (
            "containers/0/name",
            json!(""),
            "spec.containers[0].name: Required value",
        ),
        (
            "containers/0/image",
            json!(""),
            "spec.containers[0].image: Required value",
        ),
        (
            "containers/0/image",
            json!(" i"),
            "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
        ),
        (
            "initContainers",
            json!([{"name": "c", "image": "i"}]),
            "spec.initContainers[0].name: Duplicate value: \"c\"",
        ),
        (
            "containers/0/ports",
            json!([{"containerPort": 70000}]),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "containers/0/ports",
            json!([{"containerPort": 1, "protocol": "ICMP"}]),
            "spec.containers[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (
            "containers/0/env",
            json!([{"name": "A=B"}]),
            "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name",
        ),
        (
            "containers/0/env",
            json!([{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            "containers/0/env",
            json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.bad"}}}]),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.bad\": error converting fieldPath: field label not supported: spec.bad",
        ),
        (
            "containers/0/volumeMounts",
            json!([{"name": "v", "mountPath": "/v"}]),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            "containers/0/livenessProbe",
            json!({"httpGet": {"port": 80}, "exec": {"command": ["a"]}}),
            "spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
        ),
        (
            "containers/0/livenessProbe",
            json!({"exec": {"command": ["a"]}, "successThreshold": 2}),
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            "containers/0/resources",
            json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            "containers/0/resources",
            json!({"requests": {"pods": "2"}}),
            "spec.containers[0].resources.requests[pods]: Invalid value: \"pods\": must be a standard resource for containers",
        ),
        (
            "containers/0/resources",
            json!({"requests": {"memory": "-1"}}),
            "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            "restartPolicy",
            json!("Sometimes"),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            "volumes",
            json!([{"name": "v", "emptyDir": {}, "hostPath": {"path": "/a"}}]),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "volumes",
            json!([{"name": "v"}, {"name": "v"}]),
            "spec.volumes[1].name: Duplicate value: \"v\"",
        ),
        (
            "securityContext",
            json!({"runAsUser": -1}),
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            "dnsPolicy",
            json!("None"),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            "tolerations",
            json!([{"key": "", "operator": "Equal"}]),
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty",
        ),
        (
            "affinity",
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a b"}]}}),
            "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: \"a b\": name part must consist of",
        ),
        (
            "schedulingGates",
            json!([{"name": "a"}, {"name": "a"}]),
            "spec.schedulingGates[1]: Duplicate value: \"a\"",
        ),
        (
            "ephemeralContainers",
            json!([{"name": "e", "image": "i"}]),
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
        (
            "activeDeadlineSeconds",
            json!(0),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            "containers/0/restartPolicyRules",
            json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]),
            "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
        ),
    ];
    for (path, value, expected) in cases {
        let errors = texts(create(&with(path, value.clone())));
        assert_eq!(errors.len(), 1, "{path} = {value}: {errors:?}");
        assert!(errors[0].starts_with(expected), "{path} = {value}: {}", errors[0]);
    }
}

#[test]
fn ports_on_the_host_network_are_the_containers_own() {
    let spec = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i",
        "ports": [{"containerPort": 1, "hostPort": 2}]}]});
    let mut pod = json!({"metadata": {"name": "p"}, "spec": spec});
    defaults::apply("", "pods", &mut pod);
    let why = "hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true";
    assert_eq!(
        texts(create(&pod)),
        [format!("spec.containers[0].ports[0].{why}")]
    );
}

#[test]
fn templates_name_their_labels_without_metadata() {
    let mut bad = json!({"metadata": {"labels": {"a": "b c"}}, "spec": pod()["spec"]});
    defaults::pod_spec(&mut bad["spec"]);
    let errors = texts(template(&bad, &FieldPath::new("spec.template")));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].starts_with("spec.template.labels: Invalid value: \"b c\""),
        "{}",
        errors[0]
    );
}

#[test]
fn an_update_may_change_images_and_little_else() {
    let mut old = with("tolerations", json!([{"key": "a", "operator": "Exists"}]));
    old["spec"]["activeDeadlineSeconds"] = json!(100);
    let allowed = [
        ("/spec/containers/0/image", json!("other")),
        ("/spec/activeDeadlineSeconds", json!(50)),
        (
            "/spec/tolerations",
            json!([{"key": "b", "operator": "Exists"}, {"key": "a", "operator": "Exists"}]),
        ),
        ("/metadata/labels", json!({"a": "b"})),
    ];
    for (pointer, value) in allowed {
        let mut new = old.clone();
        match new.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => tree::set(&mut new, &["metadata", "labels"], value),
        }
        assert_eq!(texts(update(&new, &old)), Vec::<String>::new(), "{pointer}");
    }
    let refused = [
        (
            "/spec/containers/0/name",
            json!("d"),
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
             existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
             previously negative)\n- spec.containers[0].name: \"c\"\n+ spec.containers[0].name: \"d\"\n",
        ),
        (
            "/spec/activeDeadlineSeconds",
            json!(101),
            "spec.activeDeadlineSeconds: Invalid value: 101: must be less than or equal to previous value",
        ),
        (
            "/spec/tolerations",
            json!([]),
            "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
        ),
        (
            "/spec/containers",
            json!([{"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"},
                {"name": "d", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}]),
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
    ];
    for (pointer, value, expected) in refused {
        let mut new = old.clone();
        *new.pointer_mut(pointer).unwrap() = value;
        assert_eq!(texts(update(&new, &old)), [expected], "{pointer}");
    }
}

#[test]
fn gates_go_and_let_a_pod_be_narrowed_meanwhile() {
    let mut old = with("schedulingGates", json!([{"name": "a"}, {"name": "b"}]));
    old["spec"]["nodeSelector"] = json!({"zone": "x"});
    let mut new = old.clone();
    new["spec"]["schedulingGates"] = json!([{"name": "b"}]);
    new["spec"]["nodeSelector"] = json!({"zone": "x", "disk": "ssd"});
    new["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}});
    assert_eq!(texts(update(&new, &old)), Vec::<String>::new());
    let mut widened = new.clone();
    widened["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    widened["spec"]["schedulingGates"] = json!([{"name": "c"}]);
    assert_eq!(
        texts(update(&widened, &new)),
        [
            "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'c'",
            "spec.nodeSelector: Invalid value: {\"disk\":\"ssd\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        ]
    );
}

#[test]
fn subresources_of_a_pod_are_held_to_their_purpose() {
    let old = with(
        "containers/0/resources",
        json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}),
    );
    let mut debugged = old.clone();
    debugged["spec"]["ephemeralContainers"] =
        json!([{"name": "e", "image": "i", "ports": [{"containerPort": 1}]}]);
    defaults::apply("", "pods", &mut debugged);
    assert_eq!(
        texts(ephemeral_containers(&debugged, &old)),
        ["spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"]
    );
    tree::remove(&mut debugged["spec"]["ephemeralContainers"][0], &["ports"]);
    assert_eq!(texts(ephemeral_containers(&debugged, &old)), Vec::<String>::new());
    assert_eq!(
        texts(ephemeral_containers(&old, &debugged)),
        ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed\n"]
    );

    let mut resized = old.clone();
    resized["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("3");
    assert_eq!(texts(resize(&resized, &old)), Vec::<String>::new());
    tree::remove(&mut resized["spec"]["containers"][0], &["resources", "limits"]);
    let errors = texts(resize(&resized, &old));
    let removed = "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed";
    assert!(errors.iter().any(|error| error == removed), "{errors:?}");

    let ended = |state: Value| {
        let mut pod = with("restartPolicy", json!("Never"));
        pod["status"] = json!({"containerStatuses": [{"name": "c", "state": state}]});
        pod
    };
    assert_eq!(
        texts(status(
            &ended(json!({"running": {}})),
            &ended(json!({"terminated": {"exitCode": 0}}))
        )),
        ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]
    );
}
