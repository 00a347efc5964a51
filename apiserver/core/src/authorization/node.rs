//! What a node may touch: itself, its pods, and what those pods refer to.
//!
//! Follows `plugin/pkg/auth/authorizer/node/node_authorizer.go` of Kubernetes 1.36. The second half of the
//! protection, what a node may *write* into objects it can reach, is the NodeRestriction admission plugin.

mod graph;

pub use graph::NodeGraph;

use super::{Attributes, Decision, Rule, Subject};

const NODE_PREFIX: &str = "system:node:";
const NODES_GROUP: &str = "system:nodes";
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The node that `user` speaks for; `None` when the user is no node.
pub fn node_name_of<'a>(user: Subject<'a>) -> Option<&'a str> {
    let name = user
        .name
        .strip_prefix(NODE_PREFIX)
        .filter(|name| !name.is_empty())?;
    user.in_group(NODES_GROUP).then_some(name)
}

/// Decides for node identities; has no opinion on anyone else.
#[derive(Debug, Clone, Default)]
pub struct NodeAuthorizer {
    /// What every node may do regardless of its pods: the rules of the cluster role `system:node`.
    pub rules: Vec<Rule>,
}

impl NodeAuthorizer {
    pub fn authorize(&self, attributes: &Attributes<'_>, graph: &NodeGraph) -> Decision {
        let Some(node) = node_name_of(attributes.user) else {
            return Decision::NoOpinion(String::new());
        };
        let verdict = if attributes.resource_request {
            guarded(node, attributes, graph)
        } else {
            None
        };
        match verdict {
            Some(Ok(())) => Decision::Allow(String::new()),
            Some(Err(reason)) => Decision::NoOpinion(reason),
            None if self.rules.iter().any(|rule| rule.allows(attributes)) => Decision::Allow(String::new()),
            None => Decision::NoOpinion(String::new()),
        }
    }
}

/// The verdict on resources that are guarded by the graph; `None` for all others.
fn guarded(node: &str, a: &Attributes<'_>, graph: &NodeGraph) -> Option<Result<(), String>> {
    let verdict = match (a.api_group, a.resource) {
        ("", "secrets") => readable(node, a, graph.pods_use_secret(node, a.namespace, a.name)),
        ("", "configmaps") => readable(node, a, graph.pods_use_config_map(node, a.namespace, a.name)),
        ("", "persistentvolumeclaims") if a.subresource == "status" => match a.verb {
            "update" | "patch" => related(node, a, graph.pods_use_claim(node, a.namespace, a.name)),
            _ => Err("can only update or patch the status of this type".to_owned()),
        },
        ("", "persistentvolumeclaims") => gettable(node, a, graph.pods_use_claim(node, a.namespace, a.name)),
        ("", "persistentvolumes") => gettable(node, a, graph.pods_use_volume(node, a.name)),
        ("resource.k8s.io", "resourceclaims") => {
            gettable(node, a, graph.pods_use_resource_claim(node, a.namespace, a.name))
        }
        ("storage.k8s.io", "volumeattachments") => gettable(node, a, graph.attached_to(node, a.name)),
        ("", "serviceaccounts") => token(node, a, graph),
        ("coordination.k8s.io", "leases") => lease(node, a),
        ("storage.k8s.io", "csinodes") => own_object(node, a, "CSINode"),
        ("resource.k8s.io", "resourceslices") => slices(node, a),
        ("", "nodes") => node_object(node, a),
        ("", "pods") => pod(node, a, graph),
        _ => return None,
    };
    Some(verdict)
}

fn related(node: &str, a: &Attributes<'_>, found: bool) -> Result<(), String> {
    if a.name.is_empty() {
        return Err("No Object name found".to_owned());
    }
    if found {
        return Ok(());
    }
    Err(format!(
        "no relationship found between node '{node}' and this object"
    ))
}

fn readable(node: &str, a: &Attributes<'_>, found: bool) -> Result<(), String> {
    if !matches!(a.verb, "get" | "list" | "watch") {
        return Err("can only read resources of this type".to_owned());
    }
    if !a.subresource.is_empty() {
        return Err("cannot read subresource".to_owned());
    }
    if a.namespace.is_empty() {
        return Err("can only read namespaced object of this type".to_owned());
    }
    related(node, a, found)
}

fn gettable(node: &str, a: &Attributes<'_>, found: bool) -> Result<(), String> {
    if a.verb != "get" {
        return Err("can only get individual resources of this type".to_owned());
    }
    if !a.subresource.is_empty() {
        return Err("cannot get subresource".to_owned());
    }
    related(node, a, found)
}

fn token(node: &str, a: &Attributes<'_>, graph: &NodeGraph) -> Result<(), String> {
    match (a.verb, a.subresource) {
        ("create", "token") => related(node, a, graph.pods_use_account(node, a.namespace, a.name)),
        ("get", "") => related(node, a, graph.pods_use_account(node, a.namespace, a.name)),
        _ => Err("can only create tokens for individual service accounts".to_owned()),
    }
}

fn lease(node: &str, a: &Attributes<'_>) -> Result<(), String> {
    if !matches!(a.verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a node lease".to_owned());
    }
    if a.namespace != LEASE_NAMESPACE {
        return Err(format!(
            "can only access leases in the \"{LEASE_NAMESPACE}\" system namespace"
        ));
    }
    // A create has no name yet; admission checks the one in the body.
    if a.verb != "create" && a.name != node {
        return Err("can only access node lease with the same name as the requesting node".to_owned());
    }
    Ok(())
}

fn own_object(node: &str, a: &Attributes<'_>, kind: &str) -> Result<(), String> {
    if !matches!(a.verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err(format!("can only get, create, update, patch, or delete a {kind}"));
    }
    if !a.subresource.is_empty() {
        return Err(format!("cannot authorize {kind} subresources"));
    }
    if a.verb != "create" && a.name != node {
        return Err(format!(
            "can only access {kind} with the same name as the requesting node"
        ));
    }
    Ok(())
}

fn slices(node: &str, a: &Attributes<'_>) -> Result<(), String> {
    let selects_own = a
        .field_equals
        .iter()
        .any(|(field, value)| field == "spec.nodeName" && value == node);
    match a.verb {
        // The body of a create, and the owner of the rest, are checked at admission.
        "get" | "create" | "update" | "patch" | "delete" => Ok(()),
        "list" | "watch" | "deletecollection" if selects_own => Ok(()),
        _ => {
            Err("can only list/watch/deletecollection resourceslices with nodeName field selector".to_owned())
        }
    }
}

fn node_object(node: &str, a: &Attributes<'_>) -> Result<(), String> {
    let own = a.name == node;
    let selects_own = a
        .field_equals
        .iter()
        .any(|(field, value)| field == "metadata.name" && value == node);
    match (a.subresource, a.verb) {
        ("", "create") => Ok(()),
        ("" | "status", "get" | "update" | "patch") if own => Ok(()),
        ("", "list" | "watch") if own || selects_own => Ok(()),
        _ => Err(format!("node '{node}' cannot read or write this node")),
    }
}

fn pod(node: &str, a: &Attributes<'_>, graph: &NodeGraph) -> Result<(), String> {
    let selects_own = a
        .field_equals
        .iter()
        .any(|(field, value)| field == "spec.nodeName" && value == node);
    match (a.subresource, a.verb) {
        ("", "get") => related(node, a, graph.runs_pod(node, a.namespace, a.name)),
        ("", "list" | "watch") if selects_own => Ok(()),
        ("", "list" | "watch") => related(node, a, graph.runs_pod(node, a.namespace, a.name)),
        // Mirror pods; the body is checked at admission, as is whose pod is deleted, patched or evicted.
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
        _ => Err(format!("node '{node}' cannot {} {}", a.verb, a.full_resource())),
    }
}

#[cfg(test)]
mod tests {
    use super::{NodeAuthorizer, NodeGraph};
    use crate::authorization::{Attributes, Subject};
    use serde_json::json;

    fn graph() -> NodeGraph {
        let mut graph = NodeGraph::default();
        graph.upsert_pod(
            &json!({"metadata": {"namespace": "ns", "name": "p", "uid": "1"}, "spec": {
            "nodeName": "n1", "serviceAccountName": "robot",
            "volumes": [{"secret": {"secretName": "mounted"}}, {"persistentVolumeClaim": {"claimName": "c"}}],
            "containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "settings"}}}]}]}}),
        );
        graph
    }

    fn allowed(node: &str, verb: &str, resource: &str, subresource: &str, name: &str) -> bool {
        let groups = ["system:nodes".to_owned()];
        let user = format!("system:node:{node}");
        let attributes = Attributes {
            user: Subject {
                name: &user,
                groups: &groups,
            },
            verb,
            resource_request: true,
            path: "",
            api_group: "",
            resource,
            subresource,
            namespace: "ns",
            name,
            field_equals: &[],
        };
        NodeAuthorizer::default()
            .authorize(&attributes, &graph())
            .allowed()
    }

    #[test]
    fn a_node_reads_what_its_pods_refer_to_and_nothing_else() {
        assert!(allowed("n1", "get", "secrets", "", "mounted"));
        assert!(allowed("n1", "watch", "configmaps", "", "settings"));
        assert!(allowed("n1", "get", "persistentvolumeclaims", "", "c"));
        assert!(allowed("n1", "create", "serviceaccounts", "token", "robot"));
        assert!(!allowed("n2", "get", "secrets", "", "mounted"));
        assert!(!allowed("n1", "get", "secrets", "", "other"));
        assert!(!allowed("n1", "delete", "secrets", "", "mounted"));
        assert!(!allowed("n1", "create", "serviceaccounts", "token", "admin"));
    }

    #[test]
    fn a_node_writes_itself_and_no_other_node() {
        assert!(allowed("n1", "patch", "nodes", "status", "n1"));
        assert!(!allowed("n1", "patch", "nodes", "status", "n2"));
        assert!(!allowed("n1", "delete", "nodes", "", "n1"));
    }

    #[test]
    fn a_pod_that_left_gives_no_more_rights() {
        let mut graph = graph();
        graph.remove_pod("ns", "p");
        assert!(!graph.pods_use_secret("n1", "ns", "mounted"));
        assert!(!graph.runs_pod("n1", "ns", "p"));
    }
}
