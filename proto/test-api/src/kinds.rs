//! The resources that the server has.

use serde_json::{Value, json};

#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> Kind {
    Kind {
        group,
        version,
        kind,
        plural,
        namespaced,
    }
}

const KINDS: [Kind; 24] = [
    kind("", "v1", "Pod", "pods", true),
    kind("", "v1", "Node", "nodes", false),
    kind("", "v1", "Namespace", "namespaces", false),
    kind("", "v1", "Service", "services", true),
    kind("", "v1", "Endpoints", "endpoints", true),
    kind("", "v1", "ConfigMap", "configmaps", true),
    kind("", "v1", "Secret", "secrets", true),
    kind("", "v1", "ServiceAccount", "serviceaccounts", true),
    kind("", "v1", "Event", "events", true),
    kind("", "v1", "PersistentVolume", "persistentvolumes", false),
    kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", true),
    kind("", "v1", "ReplicationController", "replicationcontrollers", true),
    kind("apps", "v1", "Deployment", "deployments", true),
    kind("apps", "v1", "ReplicaSet", "replicasets", true),
    kind("apps", "v1", "StatefulSet", "statefulsets", true),
    kind("apps", "v1", "DaemonSet", "daemonsets", true),
    kind("apps", "v1", "ControllerRevision", "controllerrevisions", true),
    kind("batch", "v1", "Job", "jobs", true),
    kind(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        true,
    ),
    kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", true),
    kind("coordination.k8s.io", "v1", "Lease", "leases", true),
    kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", false),
    kind(
        "certificates.k8s.io",
        "v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        false,
    ),
    kind(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRole",
        "clusterroles",
        false,
    ),
];

impl Kind {
    /// By the plural name, which is unique here.
    pub fn named(plural: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.plural == plural)
    }

    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    fn described(&self) -> Value {
        json!({"resource": self.plural, "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
            "responseKind": {"group": self.group, "version": self.version, "kind": self.kind},
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]})
    }
}

/// Aggregated discovery of `/api` (the core group) or `/apis` (all others), of these resources only.
pub(crate) fn discovery(core: bool, shown: &[&str]) -> Value {
    let mut items: Vec<Value> = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.group.is_empty() == core) {
        if !shown.contains(&kind.plural) {
            continue;
        }
        let known = items
            .iter_mut()
            .find(|item| item["metadata"]["name"] == kind.group);
        match known.and_then(|item| item["versions"][0]["resources"].as_array_mut()) {
            Some(resources) => resources.push(kind.described()),
            None => items.push(json!({"metadata": {"name": kind.group},
                "versions": [{"version": kind.version, "freshness": "Current", "resources": [kind.described()]}]})),
        }
    }
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}
