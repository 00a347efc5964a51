//! What is allowed and still worth a word (`pkg/api/{pod,service}/warnings.go`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::field_error::FieldPath;
use crate::tree;

/// Warnings for an object that is created or changed. Upstream warns of changes only where the generation moves.
pub(super) fn of(group: &str, plural: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    let template: &[&str] = match (group, plural) {
        ("", "endpoints") => {
            return vec![
                "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned(),
            ];
        }
        ("", "services") => return service(new),
        ("", "pods") => &[],
        ("", "podtemplates") => &["template"],
        ("batch", "cronjobs") => &["spec", "jobTemplate", "spec", "template"],
        ("apps", "deployments" | "replicasets" | "daemonsets" | "statefulsets")
        | ("", "replicationcontrollers")
        | ("batch", "jobs") => &["spec", "template"],
        _ => return Vec::new(),
    };
    let at: Vec<&str> = template.iter().copied().chain(["spec"]).collect();
    let spec = tree::at(new, &at);
    if old.is_some_and(|old| tree::same(spec, tree::at(old, &at))) {
        return Vec::new();
    }
    spec.map_or_else(Vec::new, |spec| pod_spec(spec, &FieldPath::new(&at.join("."))))
}

/// Labels of nodes under names they had before.
const OLD_NODE_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "v1.17",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "v1.17",
        "topology.kubernetes.io/zone",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "v1.17",
        "node.kubernetes.io/instance-type",
    ),
];

fn pod_spec(spec: &Value, path: &FieldPath) -> Vec<String> {
    let mut warnings = Vec::new();
    for (label, since, now) in OLD_NODE_LABELS {
        if tree::at(spec, &["nodeSelector", label]).is_some() {
            let path = path.child("nodeSelector").key(label);
            warnings.push(format!("{path}: deprecated since {since}; use \"{now}\" instead"));
        }
    }
    if tree::int(spec, &["terminationGracePeriodSeconds"]).is_some_and(|seconds| seconds < 0) {
        let path = path.child("terminationGracePeriodSeconds");
        warnings.push(format!(
            "{path}: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    for (i, volume) in tree::list(spec, &["volumes"]).iter().enumerate() {
        if tree::at(volume, &["gitRepo"]).is_some() {
            let path = path.child("volumes").index(i).child("gitRepo");
            warnings.push(format!(
                "{path}: deprecated in v1.11, and disabled by default in v1.33+"
            ));
        }
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (i, container) in tree::list(spec, &[list]).iter().enumerate() {
            warnings.extend(repeated(container, &path.child(list).index(i)));
        }
    }
    warnings
}

/// Entries of a container of which a later one hides an earlier one.
fn repeated(container: &Value, path: &FieldPath) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut variables = BTreeMap::new();
    for (i, variable) in tree::list(container, &["env"]).iter().enumerate() {
        let name = tree::text(variable, &["name"]);
        let path = path.child("env").index(i);
        if variables.insert(name, i).is_some() {
            warnings.push(format!(
                "{path}: hides previous definition of \"{name}\", which may be dropped when using apply"
            ));
        }
    }
    let mut ports = BTreeMap::new();
    for (i, port) in tree::list(container, &["ports"]).iter().enumerate() {
        let key = (
            tree::text(port, &["protocol"]),
            tree::int(port, &["containerPort"]),
            tree::text(port, &["hostIP"]),
            tree::int(port, &["hostPort"]).unwrap_or(0),
        );
        let at = path.child("ports");
        match ports.get(&key) {
            Some(first) => warnings.push(format!(
                "{}: duplicate port definition with {}",
                at.index(i),
                at.index(*first)
            )),
            None => drop(ports.insert(key, i)),
        }
    }
    warnings
}

fn service(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let headless = tree::text(service, &["spec", "clusterIP"]) == "None";
    if headless && tree::text(service, &["spec", "sessionAffinity"]) == "ClientIP" {
        warnings.push("spec.SessionAffinity is ignored for headless services".to_owned());
    }
    if headless && !tree::text(service, &["spec", "loadBalancerIP"]).is_empty() {
        warnings.push("spec.loadBalancerIP is ignored for headless services".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hidden_entries_are_told_once_they_change() {
        let pod = json!({"spec": {"containers": [{"env": [{"name": "A"}, {"name": "A"}],
            "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 1, "protocol": "TCP"}]}]}});
        assert_eq!(
            of("", "pods", &pod, None),
            [
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            ]
        );
        assert_eq!(of("", "pods", &pod, Some(&pod)), Vec::<String>::new());
        let set =
            json!({"spec": {"template": {"spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}}}});
        assert_eq!(
            of("apps", "deployments", &set, None),
            [
                "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead"
            ]
        );
    }
}
