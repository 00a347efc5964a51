//! Defaults of volumes, claims and classes (`pkg/apis/{core,storage}/v1/defaults.go`, 1.36).

use serde_json::{Value, json};

use super::{canonical_quantities, pod};
use crate::tree;

pub(super) fn volume(object: &mut Value) {
    if let Some(spec) = tree::at_mut(object, &["spec"]) {
        tree::set_default_text(spec, "persistentVolumeReclaimPolicy", "Retain");
        tree::set_default_text(spec, "volumeMode", "Filesystem");
        canonical_quantities(spec, &["capacity"]);
        if let Some(host) = tree::at_mut(spec, &["hostPath"]) {
            tree::set_default(host, "type", "");
        }
        pod::legacy_volume(spec);
    }
}

pub(super) fn claim(object: &mut Value) {
    if let Some(spec) = tree::at_mut(object, &["spec"]) {
        claim_spec(spec);
    }
    canonical_quantities(object, &["status", "capacity"]);
}

/// `spec` of a claim, also inside templates.
pub(super) fn claim_spec(spec: &mut Value) {
    tree::set_default_text(spec, "volumeMode", "Filesystem");
    canonical_quantities(spec, &["resources", "requests"]);
    canonical_quantities(spec, &["resources", "limits"]);
}

pub(super) fn class(object: &mut Value) {
    tree::set_default_text(object, "reclaimPolicy", "Delete");
    tree::set_default_text(object, "volumeBindingMode", "Immediate");
}

pub(super) fn csi_driver(object: &mut Value) {
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    tree::set_default(spec, "attachRequired", true);
    tree::set_default(spec, "podInfoOnMount", false);
    tree::set_default(spec, "storageCapacity", false);
    tree::set_default(spec, "requiresRepublish", false);
    tree::set_default(spec, "seLinuxMount", false);
    tree::set_default_text(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if tree::list(spec, &["volumeLifecycleModes"]).is_empty() {
        tree::set(spec, &["volumeLifecycleModes"], json!(["Persistent"]));
    }
}
