//! Which pods run where, and what each of them refers to.

use crate::tree;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What one pod gives its node access to; all names are in the pod's namespace.
#[derive(Debug, Clone, Default)]
struct PodRefs {
    node: String,
    account: String,
    secrets: BTreeSet<String>,
    config_maps: BTreeSet<String>,
    claims: BTreeSet<String>,
    resource_claims: BTreeSet<String>,
}

/// Pods by `(namespace, name)` and by node, volumes by the claim they serve, attachments by node.
#[derive(Debug, Clone, Default)]
pub struct NodeGraph {
    pods: BTreeMap<(String, String), PodRefs>,
    by_node: BTreeMap<String, BTreeSet<(String, String)>>,
    volumes: BTreeMap<String, Volume>,
    attachments: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
struct Volume {
    claim: (String, String),
    /// Secrets that the volume's driver needs, as `(namespace, name)`.
    secrets: BTreeSet<(String, String)>,
}

impl NodeGraph {
    /// Takes in a pod; one that isn't bound to a node gives nobody anything.
    pub fn upsert_pod(&mut self, pod: &Value) {
        let key = (tree::namespace(pod).to_owned(), tree::name(pod).to_owned());
        self.remove_pod(&key.0, &key.1);
        let refs = PodRefs::read(pod);
        if !refs.node.is_empty() {
            self.by_node
                .entry(refs.node.clone())
                .or_default()
                .insert(key.clone());
            self.pods.insert(key, refs);
        }
    }

    pub fn remove_pod(&mut self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(refs) = self.pods.remove(&key)
            && let Some(pods) = self.by_node.get_mut(&refs.node)
        {
            pods.remove(&key);
            if pods.is_empty() {
                self.by_node.remove(&refs.node);
            }
        }
    }

    pub fn upsert_volume(&mut self, volume: &Value) {
        let claim = tree::at(volume, &["spec", "claimRef"]).unwrap_or(&Value::Null);
        let claim = (
            tree::text(claim, &["namespace"]).to_owned(),
            tree::text(claim, &["name"]).to_owned(),
        );
        let mut secrets = BTreeSet::new();
        for source in tree::map(volume, &["spec"])
            .into_iter()
            .flatten()
            .map(|(_, source)| source)
        {
            for field in [
                "secretRef",
                "nodePublishSecretRef",
                "nodeStageSecretRef",
                "nodeExpandSecretRef",
            ] {
                let name = tree::text(source, &[field, "name"]);
                if !name.is_empty() {
                    let namespace = tree::text(source, &[field, "namespace"]);
                    let namespace = if namespace.is_empty() {
                        claim.0.as_str()
                    } else {
                        namespace
                    };
                    secrets.insert((namespace.to_owned(), name.to_owned()));
                }
            }
        }
        self.volumes
            .insert(tree::name(volume).to_owned(), Volume { claim, secrets });
    }

    pub fn remove_volume(&mut self, name: &str) {
        self.volumes.remove(name);
    }

    pub fn upsert_attachment(&mut self, attachment: &Value) {
        let node = tree::text(attachment, &["spec", "nodeName"]).to_owned();
        self.attachments.insert(tree::name(attachment).to_owned(), node);
    }

    pub fn remove_attachment(&mut self, name: &str) {
        self.attachments.remove(name);
    }

    pub fn runs_pod(&self, node: &str, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        self.pods.get(&key).is_some_and(|refs| refs.node == node)
    }

    pub fn pods_use_secret(&self, node: &str, namespace: &str, name: &str) -> bool {
        let wanted = (namespace.to_owned(), name.to_owned());
        self.any_pod(node, namespace, |refs| refs.secrets.contains(name))
            || self
                .volumes
                .values()
                .any(|v| v.secrets.contains(&wanted) && self.claim_used(node, &v.claim))
    }

    pub fn pods_use_config_map(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.any_pod(node, namespace, |refs| refs.config_maps.contains(name))
    }

    pub fn pods_use_claim(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.any_pod(node, namespace, |refs| refs.claims.contains(name))
    }

    pub fn pods_use_resource_claim(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.any_pod(node, namespace, |refs| refs.resource_claims.contains(name))
    }

    pub fn pods_use_account(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.any_pod(node, namespace, |refs| refs.account == name)
    }

    pub fn pods_use_volume(&self, node: &str, name: &str) -> bool {
        self.volumes
            .get(name)
            .is_some_and(|volume| self.claim_used(node, &volume.claim))
    }

    pub fn attached_to(&self, node: &str, attachment: &str) -> bool {
        self.attachments.get(attachment).is_some_and(|n| n == node)
    }

    fn claim_used(&self, node: &str, claim: &(String, String)) -> bool {
        self.pods_use_claim(node, &claim.0, &claim.1)
    }

    fn any_pod(&self, node: &str, namespace: &str, holds: impl Fn(&PodRefs) -> bool) -> bool {
        let pods = self.by_node.get(node).into_iter().flatten();
        pods.filter(|key| key.0 == namespace)
            .filter_map(|key| self.pods.get(key))
            .any(holds)
    }
}

impl PodRefs {
    fn read(pod: &Value) -> Self {
        let spec = pod.get("spec").unwrap_or(&Value::Null);
        let mut refs = Self {
            node: tree::text(spec, &["nodeName"]).to_owned(),
            account: tree::text(spec, &["serviceAccountName"]).to_owned(),
            ..Self::default()
        };
        for secret in tree::list(spec, &["imagePullSecrets"]) {
            add(&mut refs.secrets, tree::text(secret, &["name"]));
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for container in tree::list(spec, &[list]) {
                refs.read_container(container);
            }
        }
        let pod_name = tree::name(pod);
        for volume in tree::list(spec, &["volumes"]) {
            refs.read_volume(pod_name, volume);
        }
        for claim in tree::list(pod, &["status", "resourceClaimStatuses"]) {
            add(
                &mut refs.resource_claims,
                tree::text(claim, &["resourceClaimName"]),
            );
        }
        for claim in tree::list(spec, &["resourceClaims"]) {
            add(
                &mut refs.resource_claims,
                tree::text(claim, &["resourceClaimName"]),
            );
        }
        refs
    }

    fn read_container(&mut self, container: &Value) {
        for source in tree::list(container, &["envFrom"]) {
            add(&mut self.secrets, tree::text(source, &["secretRef", "name"]));
            add(
                &mut self.config_maps,
                tree::text(source, &["configMapRef", "name"]),
            );
        }
        for variable in tree::list(container, &["env"]) {
            add(
                &mut self.secrets,
                tree::text(variable, &["valueFrom", "secretKeyRef", "name"]),
            );
            add(
                &mut self.config_maps,
                tree::text(variable, &["valueFrom", "configMapKeyRef", "name"]),
            );
        }
    }

    fn read_volume(&mut self, pod_name: &str, volume: &Value) {
        add(&mut self.secrets, tree::text(volume, &["secret", "secretName"]));
        add(&mut self.config_maps, tree::text(volume, &["configMap", "name"]));
        add(
            &mut self.claims,
            tree::text(volume, &["persistentVolumeClaim", "claimName"]),
        );
        if volume.get("ephemeral").is_some() {
            self.claims
                .insert(format!("{pod_name}-{}", tree::text(volume, &["name"])));
        }
        for source in tree::list(volume, &["projected", "sources"]) {
            add(&mut self.secrets, tree::text(source, &["secret", "name"]));
            add(&mut self.config_maps, tree::text(source, &["configMap", "name"]));
        }
        for driver in tree::map(volume, &[])
            .into_iter()
            .flatten()
            .map(|(_, driver)| driver)
        {
            add(&mut self.secrets, tree::text(driver, &["secretRef", "name"]));
            add(
                &mut self.secrets,
                tree::text(driver, &["nodePublishSecretRef", "name"]),
            );
        }
    }
}

fn add(set: &mut BTreeSet<String>, name: &str) {
    if !name.is_empty() {
        set.insert(name.to_owned());
    }
}
