//! Rights of this system's own components, beside upstream's default roles.
//!
//! Upstream runs each controller as a service account of its own, bound to a role of its own. Ours share one
//! identity, which therefore gets the sum of those roles, and little more. A node's agent is its service proxy
//! and its DNS as well.

use apiserver_core::tree;
use serde_json::{Value, json};

/// Prefix of the default roles that upstream makes for each controller.
const CONTROLLER_ROLES: &str = "system:controller:";
/// The sum of them, and its binding.
const CONTROLLERS: &str = "trireme:controllers";

/// The cluster role of the controllers, made of upstream's `roles`.
pub(super) fn controllers_role(roles: &[Value]) -> Value {
    let mut rules: Vec<Value> = Vec::new();
    let of_controllers = roles
        .iter()
        .filter(|role| tree::name(role).starts_with(CONTROLLER_ROLES));
    for rule in of_controllers.flat_map(|role| tree::list(role, &["rules"])) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    // Upstream leaves serving certificates to somebody else's approval; here agents get theirs by themselves,
    // once the approver has checked that the names in the request are the node's own.
    rules.push(json!({
        "apiGroups": ["certificates.k8s.io"], "resources": ["signers"],
        "resourceNames": ["kubernetes.io/kubelet-serving"], "verbs": ["approve"],
    }));
    json!({"metadata": {"name": CONTROLLERS}, "rules": rules})
}

pub(super) fn bindings() -> Vec<Value> {
    vec![
        binding(
            CONTROLLERS,
            CONTROLLERS,
            ("User", "system:kube-controller-manager"),
        ),
        binding(
            "trireme:node-proxier",
            "system:node-proxier",
            ("Group", "system:nodes"),
        ),
    ]
}

fn binding(name: &str, role: &str, (kind, subject): (&str, &str)) -> Value {
    json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": subject}],
    })
}

#[cfg(test)]
mod tests {
    use super::controllers_role;
    use serde_json::json;

    #[test]
    fn controllers_may_what_upstreams_may_together_and_nobody_elses() {
        let rule = |verb: &str| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]});
        let role = |name: &str, verbs: &[&str]| {
            let rules: Vec<_> = verbs.iter().map(|verb| rule(verb)).collect();
            json!({"metadata": {"name": name}, "rules": rules})
        };
        let sum = controllers_role(&[
            role("system:controller:one", &["get", "list"]),
            role("system:controller:two", &["list", "delete"]),
            role("cluster-admin", &["*"]),
        ]);
        let rules = sum["rules"].as_array().unwrap();
        assert_eq!(rules[..3], [rule("get"), rule("list"), rule("delete")]);
        assert_eq!(rules.len(), 4, "{rules:?}");
    }
}
