//! The volumes of a pod (`ValidateVolumes`, `validateVolumeSource`).

use std::collections::BTreeSet;

use quantity::Quantity;
use serde_json::Value;

use super::super::{check, storage};
use super::containers::pull_policy;
use super::environment::{field_reference, resource_reference};
use super::mounts::Volumes;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{label_selector, names, tree};

/// The kinds of sources, in the order in which upstream looks at them.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// The valid volumes and what is wrong with the others. `pod`: the name of a real pod; empty in a template.
pub(super) fn all<'a>(spec: &'a Value, pod: Option<&str>, path: &FieldPath) -> (Volumes<'a>, ErrorList) {
    let path = path.child("volumes");
    let (mut volumes, mut errors) = (Volumes::new(), ErrorList::new());
    let list = tree::list(spec, &["volumes"]);
    for (i, volume) in list.iter().enumerate() {
        let path = path.index(i);
        let name = tree::text(volume, &["name"]);
        let mut problems = source(volume, pod, &path);
        if name.is_empty() {
            problems.push(FieldError::required(&path.child("name"), ""));
        } else {
            problems.extend(check::label(name, &path.child("name")));
        }
        if volumes.contains_key(name) {
            problems.push(FieldError::duplicate(&path.child("name"), name));
        }
        if problems.is_empty() {
            volumes.insert(name, volume);
        }
        errors.extend(problems);
        let claim = tree::text(volume, &["persistentVolumeClaim", "claimName"]);
        let created = |other: &Value| {
            let name = tree::text(other, &["name"]);
            tree::at(other, &["ephemeral"]).is_some()
                && pod.is_some_and(|pod| !pod.is_empty() && claim == format!("{pod}-{name}"))
        };
        if !claim.is_empty() && list.iter().any(created) {
            let path = path.child("persistentVolumeClaim").child("claimName");
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(FieldError::invalid(&path, claim, why));
        }
    }
    (volumes, errors)
}

fn source(volume: &Value, pod: Option<&str>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut found = false;
    for kind in SOURCES {
        let Some(source) = tree::at(volume, &[kind]) else {
            continue;
        };
        let path = path.child(kind);
        if found {
            let why = "may not specify more than 1 volume type";
            errors.push(FieldError::forbidden(&path, why));
            continue;
        }
        found = true;
        match kind {
            "emptyDir" => {
                let limit = tree::at(source, &["sizeLimit"]);
                let limit = limit.and_then(|value| Quantity::from_value(value).ok());
                if limit.is_some_and(|limit| limit.is_negative()) {
                    let why = "SizeLimit field must be a valid resource quantity";
                    errors.push(FieldError::forbidden(&path.child("sizeLimit"), why));
                }
            }
            "downwardAPI" => errors.extend(downward(source, &path)),
            "projected" => errors.extend(projected(source, &path)),
            "ephemeral" => errors.extend(ephemeral(source, &path)),
            "image" => {
                if pod.is_some() {
                    errors.extend(check::required(source, "reference", &path));
                }
                errors.extend(pull_policy(source, "pullPolicy", &path));
            }
            kind => errors.extend(plain_source(kind, source, &path)),
        }
    }
    if !found {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    let name = tree::text(volume, &["name"]);
    if let Some(pod) = pod.filter(|pod| !pod.is_empty())
        && tree::at(volume, &["ephemeral"]).is_some()
        && !name.is_empty()
    {
        let claim = format!("{pod}-{name}");
        for why in names::dns1123_subdomain(&claim, false) {
            let why = format!("PVC name \"{claim}\": {why}");
            errors.push(FieldError::invalid(&path.child("name"), name, why));
        }
    }
    errors
}

/// Sources that pods and PersistentVolumes have in common, and those that are checked alone.
pub(in super::super) fn plain_source(kind: &str, source: &Value, path: &FieldPath) -> ErrorList {
    let fields: &[&str] = match kind {
        "hostPath" => return host_path(source, path),
        "secret" | "configMap" => return items(kind, source, path),
        "nfs" => &["server", "path"],
        "iscsi" => &["targetPortal", "iqn"],
        "gitRepo" => &["repository"],
        "gcePersistentDisk" => &["pdName"],
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
        "glusterfs" => &["endpoints", "path"],
        "persistentVolumeClaim" => &["claimName"],
        "rbd" => &["image"],
        "quobyte" => &["registry", "volume"],
        "flexVolume" => &["driver"],
        "azureFile" => &["secretName", "shareName"],
        "vsphereVolume" => &["volumePath"],
        "photonPersistentDisk" => &["pdID"],
        "azureDisk" => &["diskName", "diskURI"],
        "storageos" => &["volumeName"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        _ => &[],
    };
    let mut errors: ErrorList = fields
        .iter()
        .filter_map(|field| check::required(source, field, path))
        .collect();
    match kind {
        "nfs" if !tree::text(source, &["path"]).starts_with('/') => {
            let file = tree::text(source, &["path"]);
            errors.push(FieldError::invalid(
                &path.child("path"),
                file,
                "must be an absolute path",
            ));
        }
        "rbd" | "cephfs" if tree::list(source, &["monitors"]).is_empty() => {
            errors.push(FieldError::required(&path.child("monitors"), ""));
        }
        "gitRepo" => {
            let directory = tree::text(source, &["directory"]);
            errors.extend(check::descending_path(directory, &path.child("directory")));
        }
        "iscsi" => {
            let lun = tree::int(source, &["lun"]).unwrap_or(0);
            if !(0..=255).contains(&lun) {
                let why = "must be between 0 and 255, inclusive";
                errors.push(FieldError::invalid(&path.child("lun"), lun, why));
            }
        }
        "local" => {
            let file = tree::text(source, &["path"]);
            if file.is_empty() {
                errors.push(FieldError::required(&path.child("path"), ""));
            }
            errors.extend(check::no_backsteps(file, &path.child("path")));
        }
        "csi" => errors.extend(storage::driver_name(
            tree::text(source, &["driver"]),
            &path.child("driver"),
        )),
        _ => {}
    }
    errors
}

fn host_path(source: &Value, path: &FieldPath) -> ErrorList {
    if let Some(error) = check::required(source, "path", path) {
        return vec![error];
    }
    let kinds = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    check::no_backsteps(tree::text(source, &["path"]), &path.child("path"))
        .into_iter()
        .chain(check::optional_one_of(source, "type", path, &kinds))
        .collect()
}

/// Secrets and config maps: the keys that become files.
fn items(kind: &str, source: &Value, path: &FieldPath) -> ErrorList {
    let name = if kind == "secret" { "secretName" } else { "name" };
    let mut errors: ErrorList = check::required(source, name, path).into_iter().collect();
    errors.extend(check::file_mode(source, "defaultMode", path));
    for (i, item) in tree::list(source, &["items"]).iter().enumerate() {
        errors.extend(key_to_path(item, &path.child("items").index(i)));
    }
    errors
}

fn key_to_path(item: &Value, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = ["key", "path"]
        .iter()
        .filter_map(|field| check::required(item, field, path))
        .collect();
    let file = tree::text(item, &["path"]);
    errors.extend(check::unreserved_path(file, &path.child("path")));
    errors.extend(check::file_mode(item, "mode", path));
    errors
}

fn downward(source: &Value, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = check::file_mode(source, "defaultMode", path)
        .into_iter()
        .collect();
    for file in tree::list(source, &["items"]) {
        errors.extend(downward_file(file, path));
    }
    errors
}

/// What files may show of a pod.
const FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

fn downward_file(file: &Value, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = check::required(file, "path", path).into_iter().collect();
    errors.extend(check::unreserved_path(
        tree::text(file, &["path"]),
        &path.child("path"),
    ));
    match (
        tree::at(file, &["fieldRef"]),
        tree::at(file, &["resourceFieldRef"]),
    ) {
        (Some(field), other) => {
            errors.extend(field_reference(field, &FIELDS, &path.child("fieldRef")));
            if other.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", why));
            }
        }
        (None, Some(resource)) => {
            errors.extend(resource_reference(
                resource,
                true,
                &path.child("resourceFieldRef"),
            ));
        }
        (None, None) => {
            let why = "one of fieldRef and resourceFieldRef is required";
            errors.push(FieldError::required(path, why));
        }
    }
    errors.extend(check::file_mode(file, "mode", path));
    errors
}

fn projected(source: &Value, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = check::file_mode(source, "defaultMode", path)
        .into_iter()
        .collect();
    let mut files: BTreeSet<String> = BTreeSet::new();
    for (i, source) in tree::list(source, &["sources"]).iter().enumerate() {
        let source_path = path.child("sources").index(i);
        let mut sources = 0;
        // Files and what to name when one of them repeats another.
        let mut written: Vec<(String, String)> = Vec::new();
        for kind in ["secret", "configMap"] {
            let Some(holder) = tree::at(source, &[kind]) else {
                continue;
            };
            sources += 1;
            let path = source_path.child(kind);
            errors.extend(check::required(holder, "name", &path));
            for (j, item) in tree::list(holder, &["items"]).iter().enumerate() {
                errors.extend(key_to_path(item, &path.child("items").index(j)));
                let name = tree::text(holder, &["name"]).to_owned();
                written.push((tree::text(item, &["path"]).to_owned(), name));
            }
        }
        if let Some(holder) = tree::at(source, &["downwardAPI"]) {
            sources += 1;
            for file in tree::list(holder, &["items"]) {
                errors.extend(downward_file(file, &source_path.child("downwardAPI")));
                let file = tree::text(file, &["path"]);
                written.push((file.to_owned(), file.to_owned()));
            }
        }
        if let Some(token) = tree::at(source, &["serviceAccountToken"]) {
            sources += 1;
            errors.extend(token_source(
                token,
                path,
                &source_path.child("serviceAccountToken"),
            ));
        }
        if let Some(bundle) = tree::at(source, &["clusterTrustBundle"]) {
            sources += 1;
            errors.extend(trust_bundle(bundle, &source_path.child("clusterTrustBundle")));
            let file = tree::text(bundle, &["path"]);
            written.push((file.to_owned(), file.to_owned()));
        }
        for (file, shown) in written {
            if !file.is_empty() && !files.insert(file) {
                errors.push(FieldError::invalid(path, shown, "conflicting duplicate paths"));
            }
        }
        if sources > 1 {
            let why = "may not specify more than 1 volume type per source";
            errors.push(FieldError::forbidden(&source_path, why));
        }
    }
    errors
}

/// Upstream reports the file of a token at the volume.
fn token_source(token: &Value, volume_path: &FieldPath, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let seconds = tree::int(token, &["expirationSeconds"]).unwrap_or(0);
    let at = path.child("expirationSeconds");
    if seconds < 10 * 60 {
        let why = "may not specify a duration less than 10 minutes";
        errors.push(FieldError::invalid(&at, seconds, why));
    }
    if seconds > 1 << 32 {
        let why = "may not specify a duration larger than 2^32 seconds";
        errors.push(FieldError::invalid(&at, seconds, why));
    }
    errors.extend(check::required(token, "path", volume_path));
    let file = tree::text(token, &["path"]);
    errors.extend(check::unreserved_path(file, &volume_path.child("path")));
    errors
}

fn trust_bundle(bundle: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let set = |field| tree::at(bundle, &[field]).is_some();
    match (set("name"), set("signerName")) {
        (true, true) => errors.push(FieldError::invalid(
            path,
            bundle.clone(),
            "only one of name and signerName may be used",
        )),
        (false, false) => errors.push(FieldError::required(
            path,
            "either name or signerName must be specified",
        )),
        (true, false) if set("labelSelector") => errors.push(FieldError::invalid(
            &path.child("labelSelector"),
            bundle["labelSelector"].clone(),
            "labelSelector must be unset if name is specified",
        )),
        (true, false) => {}
        (false, true) => {
            if let Some(selector) = tree::at(bundle, &["labelSelector"]) {
                errors.extend(label_selector::validate(selector, &path.child("labelSelector")));
            }
        }
    }
    errors.extend(check::required(bundle, "path", path));
    let file = tree::text(bundle, &["path"]);
    errors.extend(check::unreserved_path(file, &path.child("path")));
    errors
}

fn ephemeral(source: &Value, path: &FieldPath) -> ErrorList {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = tree::at(source, &["volumeClaimTemplate"]) else {
        return vec![FieldError::required(&path, "")];
    };
    let mut errors = super::template_metadata(template, &path.child("metadata"));
    for (field, value) in tree::map(template, &["metadata"]).into_iter().flatten() {
        if !matches!(field.as_str(), "labels" | "annotations") && !tree::is_empty(value) && value != "" {
            let path = path.child("metadata").child(field);
            errors.push(FieldError::forbidden(&path, "cannot be set"));
        }
    }
    let spec = template.get("spec").unwrap_or(&Value::Null);
    errors.extend(storage::claim_spec(spec, &path.child("spec")));
    errors
}
