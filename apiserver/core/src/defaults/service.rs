//! Defaults of Services and what tells their endpoints (`pkg/apis/core/v1/defaults.go`, 1.36).

use serde_json::{Value, json};

use crate::tree;

pub(super) fn service(object: &mut Value) {
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    tree::set_default_text(spec, "sessionAffinity", "None");
    tree::set_default_text(spec, "type", "ClusterIP");
    if tree::text(spec, &["sessionAffinity"]) == "None" {
        tree::remove(spec, &["sessionAffinityConfig"]);
    } else if tree::text(spec, &["sessionAffinity"]) == "ClientIP"
        && tree::int(spec, &["sessionAffinityConfig", "clientIP", "timeoutSeconds"]).is_none()
    {
        tree::set(
            spec,
            &["sessionAffinityConfig", "clientIP", "timeoutSeconds"],
            10800,
        );
    }
    for port in tree::list_mut(spec, &["ports"]) {
        tree::set_default_text(port, "protocol", "TCP");
        let unset = matches!(port.get("targetPort"), None | Some(Value::Null))
            || port
                .get("targetPort")
                .is_some_and(|target| *target == json!(0) || *target == json!(""));
        if unset && let Some(number) = port.get("port").cloned() {
            tree::set(port, &["targetPort"], number);
        }
    }
    let kind = tree::text(spec, &["type"]).to_owned();
    let external = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && !tree::list(spec, &["externalIPs"]).is_empty());
    if external {
        tree::set_default_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        tree::set_default_text(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        tree::set_default(spec, "allocateLoadBalancerNodePorts", true);
    }
}

pub(super) fn endpoints(object: &mut Value) {
    for subset in tree::list_mut(object, &["subsets"]) {
        for port in tree::list_mut(subset, &["ports"]) {
            tree::set_default_text(port, "protocol", "TCP");
        }
    }
}

pub(super) fn endpoint_slice(object: &mut Value) {
    for port in tree::list_mut(object, &["ports"]) {
        tree::set_default(port, "name", "");
        tree::set_default_text(port, "protocol", "TCP");
    }
}
