//! Defaults of network policies and ingress classes (`pkg/apis/networking/v1/defaults.go`, 1.36).

use serde_json::{Value, json};

use crate::tree;

pub(super) fn network_policy(object: &mut Value) {
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    for direction in ["ingress", "egress"] {
        for rule in tree::list_mut(spec, &[direction]) {
            for port in tree::list_mut(rule, &["ports"]) {
                tree::set_default_text(port, "protocol", "TCP");
            }
        }
    }
    if tree::list(spec, &["policyTypes"]).is_empty() {
        let mut types = vec![json!("Ingress")];
        if !tree::list(spec, &["egress"]).is_empty() {
            types.push(json!("Egress"));
        }
        tree::set(spec, &["policyTypes"], types);
    }
}

pub(super) fn ingress_class(object: &mut Value) {
    if let Some(parameters) = tree::at_mut(object, &["spec", "parameters"]) {
        tree::set_default_text(parameters, "scope", "Cluster");
    }
}
