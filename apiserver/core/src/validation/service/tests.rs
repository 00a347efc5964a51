use serde_json::{Value, json};

use super::{service, update};
use crate::defaults;
use crate::field_error::ErrorList;

fn allocated(spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    defaults::apply("", "services", &mut service);
    service
}

fn texts(errors: ErrorList) -> Vec<String> {
    errors.into_iter().map(|error| error.to_string()).collect()
}

#[test]
fn problems_of_services_read_as_upstream() {
    let cases = [
        (json!({}), ""),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]}),
            "",
        ),
        (
            json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": []}),
            "",
        ),
        (json!({"ports": []}), "spec.ports: Required value"),
        (
            json!({"ports": [{"port": 80}, {"name": "b", "port": 81}]}),
            "spec.ports[0].name: Required value",
        ),
        (
            json!({"ports": [{"port": 0, "targetPort": 1}]}),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
            "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
        ),
        (
            json!({"type": "Magic"}),
            "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \
             \"LoadBalancer\", \"NodePort\"",
        ),
        (
            json!({"clusterIP": "1.2.3", "clusterIPs": ["1.2.3"]}),
            "spec.clusterIPs[0]: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)",
        ),
        (
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and \
             less than 86400",
        ),
        (
            json!({"externalIPs": ["127.0.0.1"]}),
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, \
             ::1/128)",
        ),
        (
            json!({"loadBalancerClass": "a/b"}),
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
    ];
    for (spec, expected) in cases {
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        assert_eq!(texts(service(&allocated(spec.clone()))), expected, "{spec}");
    }
    let named =
        json!({"metadata": {"name": "s"}, "spec": {"type": "ExternalName", "sessionAffinity": "None"}});
    assert_eq!(texts(service(&named)), ["spec.externalName: Required value"]);
}

#[test]
fn addresses_stay() {
    let old = allocated(json!({}));
    assert_eq!(texts(update(&old, &old)), Vec::<String>::new());
    let moved = allocated(json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}));
    assert_eq!(
        texts(update(&moved, &old)),
        ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"]
    );
    let mut named = old.clone();
    named["spec"] = json!({"type": "ExternalName", "externalName": "a.b"});
    assert_eq!(texts(update(&named, &old)), Vec::<String>::new());
}
