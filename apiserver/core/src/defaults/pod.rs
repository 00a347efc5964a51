//! Defaults of pods and of everything with a pod template (`pkg/apis/core/v1/defaults.go`, 1.36).

use serde_json::{Value, json};

use super::{canonical_quantities, canonical_quantity};
use crate::tree;

/// A pod itself: what a template does not get comes here.
pub(super) fn pod(object: &mut Value) {
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    pod_spec(spec);
    tree::set_default(spec, "enableServiceLinks", true);
    for list in ["containers", "initContainers"] {
        for container in tree::list_mut(spec, &[list]) {
            requests_from_limits(container);
        }
    }
    if !tree::is_empty(spec.get("resources").unwrap_or(&Value::Null)) {
        requests_from_limits(spec);
    }
}

/// What is limited is requested, if no request says otherwise.
fn requests_from_limits(holder: &mut Value) {
    let limits = tree::map(holder, &["resources", "limits"])
        .cloned()
        .unwrap_or_default();
    if limits.is_empty() {
        return;
    }
    let requests = tree::ensure_map(holder, &["resources", "requests"]);
    for (name, amount) in limits {
        requests.entry(name).or_insert(amount);
    }
}

/// The pod template at a path.
pub(super) fn template(object: &mut Value, path: &[&str]) {
    if let Some(spec) = tree::at_mut(object, path).and_then(|template| template.get_mut("spec")) {
        pod_spec(spec);
    }
}

/// The part that pods and templates have in common.
pub fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    tree::set_default_text(spec, "dnsPolicy", "ClusterFirst");
    tree::set_default_text(spec, "restartPolicy", "Always");
    tree::set_default(spec, "securityContext", json!({}));
    tree::set_default(spec, "terminationGracePeriodSeconds", 30);
    tree::set_default_text(spec, "schedulerName", "default-scheduler");
    // Two names of one field: both are shown.
    let account = [
        tree::text(spec, &["serviceAccountName"]),
        tree::text(spec, &["serviceAccount"]),
    ]
    .into_iter()
    .find(|name| !name.is_empty())
    .map(str::to_owned);
    if let Some(account) = account {
        tree::set(spec, &["serviceAccountName"], account.as_str());
        tree::set(spec, &["serviceAccount"], account);
    }
    let host_network = tree::flag(spec, &["hostNetwork"]);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for item in tree::list_mut(spec, &[list]) {
            container(item);
            if host_network {
                for port in tree::list_mut(item, &["ports"]) {
                    if tree::int(port, &["hostPort"]).unwrap_or(0) == 0
                        && let Some(number) = tree::int(port, &["containerPort"])
                    {
                        tree::set(port, &["hostPort"], number);
                    }
                }
            }
        }
    }
    canonical_quantities(spec, &["resources", "limits"]);
    canonical_quantities(spec, &["resources", "requests"]);
    canonical_quantities(spec, &["overhead"]);
    for item in tree::list_mut(spec, &["volumes"]) {
        volume(item);
    }
}

fn container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    let policy = pull_policy(tree::text(container, &["image"]));
    tree::set_default_text(container, "imagePullPolicy", policy);
    tree::set_default_text(container, "terminationMessagePath", "/dev/termination-log");
    tree::set_default_text(container, "terminationMessagePolicy", "File");
    tree::set_default(container, "resources", json!({}));
    canonical_quantities(container, &["resources", "limits"]);
    canonical_quantities(container, &["resources", "requests"]);
    for port in tree::list_mut(container, &["ports"]) {
        tree::set_default_text(port, "protocol", "TCP");
    }
    for variable in tree::list_mut(container, &["env"]) {
        if let Some(field) = tree::at_mut(variable, &["valueFrom", "fieldRef"]) {
            tree::set_default_text(field, "apiVersion", "v1");
        }
        if let Some(field) = tree::at_mut(variable, &["valueFrom", "resourceFieldRef"]) {
            divisor(field);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(item) = tree::at_mut(container, &[name]) {
            probe(item);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(get) = tree::at_mut(container, &["lifecycle", hook, "httpGet"]) {
            http_get(get);
        }
    }
}

/// `Always` for `latest` and for no tag, else `IfNotPresent`.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or("");
    match last.split_once(':') {
        Some((_, tag)) if tag != "latest" => "IfNotPresent",
        _ => "Always",
    }
}

fn probe(probe: &mut Value) {
    for (field, number) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if tree::int(probe, &[field]).unwrap_or(0) == 0 {
            tree::set(probe, &[field], number);
        }
    }
    if let Some(get) = tree::at_mut(probe, &["httpGet"]) {
        http_get(get);
    }
    if let Some(grpc) = tree::at_mut(probe, &["grpc"]) {
        tree::set_default(grpc, "service", "");
    }
}

fn http_get(get: &mut Value) {
    tree::set_default_text(get, "path", "/");
    tree::set_default_text(get, "scheme", "HTTP");
}

fn divisor(field: &mut Value) {
    tree::set_default(field, "divisor", "0");
    if let Some(value) = field.get_mut("divisor") {
        canonical_quantity(value);
    }
}

const FILE_MODE: i32 = 0o644;

/// A volume of a pod. Without a source it is an `emptyDir`.
pub(super) fn volume(volume: &mut Value) {
    let Some(map) = volume.as_object_mut() else { return };
    if map
        .iter()
        .all(|(field, value)| field == "name" || value.is_null())
    {
        map.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = tree::at_mut(volume, &[source]) {
            tree::set_default(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(size) = tree::at_mut(volume, &["emptyDir", "sizeLimit"]) {
        canonical_quantity(size);
    }
    if let Some(host) = tree::at_mut(volume, &["hostPath"]) {
        tree::set_default(host, "type", "");
    }
    if let Some(claim) = tree::at_mut(volume, &["ephemeral", "volumeClaimTemplate", "spec"]) {
        super::storage::claim_spec(claim);
    }
    if let Some(image) = tree::at_mut(volume, &["image"]) {
        let policy = pull_policy(tree::text(image, &["reference"]));
        tree::set_default_text(image, "pullPolicy", policy);
    }
    downward_items(volume, &["downwardAPI", "items"]);
    for source in tree::list_mut(volume, &["projected", "sources"]) {
        if let Some(token) = tree::at_mut(source, &["serviceAccountToken"]) {
            tree::set_default(token, "expirationSeconds", 3600);
        }
        downward_items(source, &["downwardAPI", "items"]);
    }
    legacy_volume(volume);
}

fn downward_items(holder: &mut Value, path: &[&str]) {
    for item in tree::list_mut(holder, path) {
        if let Some(field) = tree::at_mut(item, &["fieldRef"]) {
            tree::set_default_text(field, "apiVersion", "v1");
        }
        if let Some(field) = tree::at_mut(item, &["resourceFieldRef"]) {
            divisor(field);
        }
    }
}

/// Volume plugins of the older kind, in pods and in PersistentVolumes alike.
pub(super) fn legacy_volume(source: &mut Value) {
    if let Some(iscsi) = tree::at_mut(source, &["iscsi"]) {
        tree::set_default_text(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = tree::at_mut(source, &["rbd"]) {
        tree::set_default_text(rbd, "pool", "rbd");
        tree::set_default_text(rbd, "user", "admin");
        tree::set_default_text(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = tree::at_mut(source, &["azureDisk"]) {
        tree::set_default_text(disk, "cachingMode", "ReadWrite");
        tree::set_default_text(disk, "kind", "Shared");
        tree::set_default_text(disk, "fsType", "ext4");
        tree::set_default(disk, "readOnly", false);
    }
    if let Some(scale) = tree::at_mut(source, &["scaleIO"]) {
        tree::set_default_text(scale, "storageMode", "ThinProvisioned");
        tree::set_default_text(scale, "fsType", "xfs");
    }
}
