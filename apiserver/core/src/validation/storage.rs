//! Volumes, claims and what provisions them (`pkg/apis/core/validation`, `pkg/apis/storage/validation`).

use std::collections::BTreeSet;

use quantity::Quantity;
use serde_json::Value;

use super::{check, pod};
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{label_selector, tree};

const ACCESS_MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];

/// The sources that a PersistentVolume may have.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// The name of a CSI driver. The case of letters does not matter.
pub(super) fn driver_name(name: &str, path: &FieldPath) -> ErrorList {
    const MAX: usize = 63;
    let mut errors = ErrorList::new();
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    if name.len() > MAX {
        errors.push(FieldError::too_long(path, MAX));
    }
    let reasons = crate::names::dns1123_subdomain(&name.to_lowercase(), false);
    errors.extend(check::invalid(path, name, reasons));
    errors
}

fn access_modes(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = path.child("accessModes");
    let modes: Vec<&str> = tree::list(spec, &["accessModes"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(mode)) {
        errors.push(FieldError::not_supported(&path, *mode, &ACCESS_MODES));
    }
    let single = modes.contains(&"ReadWriteOncePod");
    if single
        && modes
            .iter()
            .any(|mode| *mode != "ReadWriteOncePod" && ACCESS_MODES.contains(mode))
    {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(&path, why));
    }
    errors
}

/// The spec of a claim, also where it is part of something else.
pub(super) fn claim_spec(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    if tree::list(spec, &["accessModes"]).is_empty() {
        let why = "at least 1 access mode is required";
        errors.push(FieldError::required(&path.child("accessModes"), why));
    }
    if let Some(selector) = tree::at(spec, &["selector"]) {
        errors.extend(label_selector::validate(selector, &path.child("selector")));
    }
    errors.extend(access_modes(spec, path));
    let size_path = path.child("resources").key("storage");
    match tree::at(spec, &["resources", "requests", "storage"]) {
        None => errors.push(FieldError::required(&size_path, "")),
        Some(size) => errors.extend(positive(size, &size_path)),
    }
    for field in ["storageClassName", "volumeAttributesClassName"] {
        let name = tree::text(spec, &[field]);
        if !name.is_empty() {
            errors.extend(check::subdomain(name, &path.child(field)));
        }
    }
    errors.extend(check::optional_one_of(spec, "volumeMode", path, &VOLUME_MODES));
    for field in ["dataSource", "dataSourceRef"] {
        if let Some(source) = tree::at(spec, &[field]) {
            errors.extend(data_source(source, &path.child(field)));
        }
    }
    errors
}

fn positive(value: &Value, path: &FieldPath) -> Option<FieldError> {
    match check::quantity(value, path) {
        Ok(amount) if amount <= Quantity::default() => {
            let why = "must be greater than zero";
            Some(FieldError::invalid(path, amount.to_string(), why))
        }
        Ok(_) => None,
        Err(error) => Some(error),
    }
}

fn data_source(source: &Value, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = ["name", "kind"]
        .iter()
        .filter_map(|field| check::required(source, field, path))
        .collect();
    let (group, kind) = (tree::text(source, &["apiGroup"]), tree::text(source, &["kind"]));
    if group.is_empty() {
        if kind != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(path, kind, why));
        }
    } else {
        errors.extend(check::subdomain(group, &path.child("apiGroup")));
    }
    let namespace = tree::text(source, &["namespace"]);
    if !namespace.is_empty() {
        errors.extend(check::label(namespace, &path.child("namespace")));
    }
    errors
}

pub(super) fn claim(object: &Value) -> ErrorList {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    claim_spec(spec, &FieldPath::new("spec"))
}

/// A claim keeps its spec, but may be bound once, classed once and, when bound, grow.
pub(super) fn claim_update(new: &Value, old: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let mut errors = ErrorList::new();
    let mut munged = new.get("spec").cloned().unwrap_or_default();
    let before = old.get("spec").unwrap_or(&Value::Null);
    if tree::text(before, &["volumeName"]).is_empty() {
        tree::restore(&mut munged, before, &["volumeName"]);
    }
    if tree::at(before, &["storageClassName"]).is_none() && tree::at(&munged, &["storageClassName"]).is_some()
    {
        tree::remove(&mut munged, &["storageClassName"]);
    }
    if tree::text(new, &["status", "phase"]) == "Bound" {
        tree::restore(&mut munged, before, &["resources", "requests", "storage"]);
        if tree::at(&munged, &["volumeAttributesClassName"]).is_some() {
            tree::restore(&mut munged, before, &["volumeAttributesClassName"]);
        }
    }
    if !tree::same(Some(&munged), Some(before)) {
        let changes = check::differences(before, &munged, &path);
        let why = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
             claims\n{changes}"
        );
        errors.push(FieldError::forbidden(&path, why));
    }
    let size = |object: &Value, at: &[&str]| {
        tree::at(object, at)
            .and_then(|value| Quantity::from_value(value).ok())
            .unwrap_or_default()
    };
    let request = ["spec", "resources", "requests", "storage"];
    // After a growth that failed, the request may come down again to anything above what there is.
    let now = size(new, &request);
    if now < size(old, &request) && now <= size(old, &["status", "capacity", "storage"]) {
        let path = path.child("resources").child("requests").child("storage");
        let why = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden(&path, why));
    }
    let class = ["spec", "volumeAttributesClassName"];
    if tree::at(old, &class).is_some() && tree::text(new, &class).is_empty() {
        let why = match tree::at(new, &class) {
            None => "update from non-nil value to nil is forbidden",
            Some(_) => "update from non-nil value to an empty string is forbidden",
        };
        errors.push(FieldError::forbidden(
            &path.child("volumeAttributesClassName"),
            why,
        ));
    }
    errors
}

pub(super) fn volume(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut errors = ErrorList::new();
    if tree::list(spec, &["accessModes"]).is_empty() {
        errors.push(FieldError::required(&path.child("accessModes"), ""));
    }
    errors.extend(access_modes(spec, &path));
    errors.extend(capacity(spec, &path.child("capacity")));
    let policies = ["Delete", "Recycle", "Retain"];
    errors.extend(check::optional_one_of(
        spec,
        "persistentVolumeReclaimPolicy",
        &path,
        &policies,
    ));
    if let Some(affinity) = tree::at(spec, &["nodeAffinity"]) {
        let path = path.child("nodeAffinity").child("required");
        match tree::at(affinity, &["required"]) {
            Some(selector) => errors.extend(pod::node_selector(selector, &path)),
            None => errors.push(FieldError::required(
                &path,
                "must specify required node constraints",
            )),
        }
    }
    errors.extend(volume_source(spec, &path));
    let recycled = tree::text(spec, &["persistentVolumeReclaimPolicy"]) == "Recycle";
    let host_path = tree::text(spec, &["hostPath", "path"]);
    if recycled && !host_path.is_empty() && host_path.trim_matches('/').is_empty() {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        let path = path.child("persistentVolumeReclaimPolicy");
        errors.push(FieldError::forbidden(&path, why));
    }
    let class = tree::text(spec, &["storageClassName"]);
    if !class.is_empty() {
        errors.extend(check::subdomain(class, &path.child("storageClassName")));
    }
    errors.extend(check::optional_one_of(spec, "volumeMode", &path, &VOLUME_MODES));
    errors
}

fn capacity(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let amounts = tree::map(spec, &["capacity"]);
    if amounts.is_none_or(serde_json::Map::is_empty) {
        errors.push(FieldError::required(path, ""));
    }
    if amounts.is_none_or(|amounts| amounts.len() != 1 || !amounts.contains_key("storage")) {
        let shown = tree::at(spec, &["capacity"]).cloned().unwrap_or_default();
        errors.push(FieldError::not_supported(path, shown, &["storage"]));
    }
    for (name, value) in amounts.into_iter().flatten() {
        errors.extend(positive(value, &path.key(name)));
    }
    errors
}

fn volume_source(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut found = false;
    for kind in SOURCES {
        let Some(source) = tree::at(spec, &[kind]) else {
            continue;
        };
        let source_path = path.child(kind);
        if found {
            let why = "may not specify more than 1 volume type";
            errors.push(FieldError::forbidden(&source_path, why));
            continue;
        }
        found = true;
        errors.extend(pod::plain_source(kind, source, &source_path));
        if kind == "csi" {
            errors.extend(check::required(source, "volumeHandle", &source_path));
        }
        if kind == "local" && tree::at(spec, &["nodeAffinity"]).is_none() {
            let why = "Local volume requires node affinity";
            errors.push(FieldError::required(&path.child("nodeAffinity"), why));
        }
    }
    if !found {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    errors
}

/// A volume keeps its source, its mode and, once set, its affinity.
pub(super) fn volume_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let sources = |object: &Value, keep_expand_secret: bool| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|field, value| SOURCES.contains(&field.as_str()) && !value.is_null());
        }
        if !keep_expand_secret {
            tree::remove(&mut spec, &["csi", "controllerExpandSecretRef"]);
        }
        spec
    };
    let secret = ["spec", "csi", "controllerExpandSecretRef"];
    let keep = tree::at(old, &secret).is_some();
    let (now, before) = (sources(new, keep), sources(old, keep));
    if !tree::same(Some(&now), Some(&before)) {
        let changes = check::differences(&before, &now, &FieldPath::new("spec"));
        let why = format!("spec.persistentvolumesource is immutable after creation\n{changes}");
        let path = FieldPath::new("spec.persistentvolumesource");
        errors.push(FieldError::forbidden(&path, why));
    }
    let null = Value::Null;
    let (now, before) = (new.get("spec").unwrap_or(&null), old.get("spec").unwrap_or(&null));
    errors.extend(check::immutable(
        now,
        before,
        &["volumeMode"],
        &FieldPath::default(),
    ));
    let (now, before) = (
        tree::at(now, &["nodeAffinity"]),
        tree::at(before, &["nodeAffinity"]),
    );
    if before.is_some() && !tree::same(now, before) {
        let shown = now.cloned().unwrap_or_default();
        let why = "field is immutable, except for updating from beta label to GA";
        errors.push(FieldError::invalid(&FieldPath::new("nodeAffinity"), shown, why));
    }
    errors
}

const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETERS_BYTES: usize = 256 * 1024;

pub(super) fn class(object: &Value) -> ErrorList {
    let root = FieldPath::default();
    let mut errors = ErrorList::new();
    let provisioner = tree::text(object, &["provisioner"]);
    if provisioner.is_empty() {
        errors.push(FieldError::required(&root.child("provisioner"), ""));
    } else {
        errors.extend(check::qualified_name(
            &provisioner.to_lowercase(),
            &root.child("provisioner"),
        ));
    }
    errors.extend(parameters(object, &root.child("parameters")));
    errors.extend(check::optional_one_of(
        object,
        "reclaimPolicy",
        &root,
        &["Delete", "Retain"],
    ));
    let modes = ["Immediate", "WaitForFirstConsumer"];
    if tree::at(object, &["volumeBindingMode"]).is_none() {
        errors.push(FieldError::required(&root.child("volumeBindingMode"), ""));
    }
    errors.extend(check::optional_one_of(object, "volumeBindingMode", &root, &modes));
    for (i, term) in tree::list(object, &["allowedTopologies"]).iter().enumerate() {
        let path = root
            .child("allowedTopologies")
            .index(i)
            .child("matchLabelExpressions");
        let mut keys = BTreeSet::new();
        for (j, expression) in tree::list(term, &["matchLabelExpressions"]).iter().enumerate() {
            let path = path.index(j);
            let key = tree::text(expression, &["key"]);
            if tree::list(expression, &["values"]).is_empty() {
                errors.push(FieldError::required(&path.child("values"), ""));
            }
            errors.extend(check::qualified_name(key, &path.child("key")));
            if !keys.insert(key) {
                errors.push(FieldError::duplicate(&path.child("key"), key));
            }
        }
    }
    errors
}

fn parameters(object: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let count = tree::map(object, &["parameters"]).map_or(0, serde_json::Map::len);
    if count > MAX_PARAMETERS {
        let why = "Provisioner Parameters";
        errors.push(FieldError::too_many(&path.child(why), count, MAX_PARAMETERS));
        return errors;
    }
    let mut size = 0;
    for (key, value) in tree::strings(object, &["parameters"]) {
        if key.is_empty() {
            let why = "field can not be empty.";
            errors.push(FieldError::invalid(path, key, why));
        }
        size += key.len() + value.len();
    }
    if size > MAX_PARAMETERS_BYTES {
        errors.push(FieldError::too_long(path, MAX_PARAMETERS_BYTES));
    }
    errors
}

/// A class keeps what volumes were made by.
pub(super) fn class_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = FieldPath::default();
    for (field, why) in [
        ("parameters", "updates to parameters are forbidden."),
        ("provisioner", "updates to provisioner are forbidden."),
        ("reclaimPolicy", "updates to reclaimPolicy are forbidden."),
    ] {
        if !tree::same(tree::at(new, &[field]), tree::at(old, &[field])) {
            errors.push(FieldError::forbidden(&root.child(field), why));
        }
    }
    errors.extend(check::immutable(new, old, &["volumeBindingMode"], &root));
    errors
}
