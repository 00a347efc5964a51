//! What an update of a Service keeps: allocated addresses and ports (`service/storage/alloc.go`,
//! `patchAllocatedValues`, and `service/strategy.go`, `dropTypeDependentFields`, 1.36).

use serde_json::Value;

use crate::tree;

fn kind(service: &Value) -> &str {
    match tree::text(service, &["spec", "type"]) {
        "" => "ClusterIP",
        kind => kind,
    }
}

fn has_cluster_ip(service: &Value) -> bool {
    kind(service) != "ExternalName"
}

fn has_node_port(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

/// What was allocated stays, unless the user asks for something else or the type no longer has it.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    keep_addresses(new, old);
    keep_node_ports(new, old);
    if tree::int(new, &["spec", "healthCheckNodePort"]).unwrap_or(0) == 0
        && tree::text(new, &["spec", "externalTrafficPolicy"]) == "Local"
        && kind(new) == "LoadBalancer"
    {
        tree::restore(new, old, &["spec", "healthCheckNodePort"]);
    }
}

fn keep_addresses(new: &mut Value, old: &Value) {
    if has_cluster_ip(new) && has_cluster_ip(old) {
        if tree::text(new, &["spec", "clusterIP"]).is_empty() {
            tree::restore(new, old, &["spec", "clusterIP"]);
        }
        if tree::list(new, &["spec", "clusterIPs"]).is_empty()
            && tree::text(new, &["spec", "clusterIP"]) == tree::text(old, &["spec", "clusterIP"])
        {
            tree::restore(new, old, &["spec", "clusterIPs"]);
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if tree::at(new, &["spec", field]).is_none() {
                tree::restore(new, old, &["spec", field]);
            }
        }
    } else if !has_cluster_ip(new) && has_cluster_ip(old) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if tree::at(new, &["spec", field]) == tree::at(old, &["spec", field]) {
                tree::remove(new, &["spec", field]);
            }
        }
    }
}

fn keep_node_ports(new: &mut Value, old: &Value) {
    let before = tree::list(old, &["spec", "ports"]);
    let number = |port: &Value| tree::int(port, &["nodePort"]).filter(|number| *number != 0);
    if has_node_port(new) && has_node_port(old) {
        for port in tree::list_mut(new, &["spec", "ports"]) {
            if number(port).is_some() {
                continue;
            }
            let known = before.iter().find(|known| {
                tree::int(known, &["port"]) == tree::int(port, &["port"])
                    && tree::text(known, &["protocol"]) == tree::text(port, &["protocol"])
            });
            if let Some(number) = known.and_then(number) {
                tree::set(port, &["nodePort"], number);
            }
        }
    } else if has_node_port(old) && !has_node_port(new) {
        for port in tree::list_mut(new, &["spec", "ports"]) {
            if number(port).is_some_and(|now| before.iter().any(|known| number(known) == Some(now))) {
                tree::remove(port, &["nodePort"]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_keeps_its_address_and_ports() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.5", "clusterIPs": ["10.0.0.5"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        prepare_update(&mut new, &old);
        assert_eq!(new["spec"], old["spec"]);
        let mut plain = old.clone();
        plain["spec"]["type"] = json!("ClusterIP");
        prepare_update(&mut plain, &old);
        assert!(plain["spec"]["ports"][0].get("nodePort").is_none());
        assert_eq!(plain["spec"]["clusterIP"], "10.0.0.5");
        let mut external = old.clone();
        external["spec"]["type"] = json!("ExternalName");
        prepare_update(&mut external, &old);
        assert!(external["spec"].get("clusterIP").is_none());
    }
}
