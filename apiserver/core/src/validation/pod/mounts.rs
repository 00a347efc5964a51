//! Where containers see volumes (`ValidateVolumeMounts`, `ValidateVolumeDevices`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

/// The volumes of a pod that are valid, by name.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a Value>;

pub(super) fn mounts(container: &Value, volumes: &Volumes<'_>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let list_path = path.child("volumeMounts");
    let devices = tree::list(container, &["volumeDevices"]);
    let mut mount_points = BTreeSet::new();
    for (i, mount) in tree::list(container, &["volumeMounts"]).iter().enumerate() {
        let path = list_path.index(i);
        let (name, point) = (tree::text(mount, &["name"]), tree::text(mount, &["mountPath"]));
        let (name_path, point_path) = (path.child("name"), path.child("mountPath"));
        errors.extend(check::required(mount, "name", &path));
        if !volumes.contains_key(name) {
            errors.push(FieldError::not_found(&name_path, name));
        }
        errors.extend(check::required(mount, "mountPath", &path));
        if !mount_points.insert(point) {
            errors.push(FieldError::invalid(&point_path, point, "must be unique"));
        }
        if devices.iter().any(|device| tree::text(device, &["name"]) == name) {
            let why = "must not already exist in volumeDevices";
            errors.push(FieldError::invalid(&name_path, name, why));
        }
        if devices
            .iter()
            .any(|device| tree::text(device, &["devicePath"]) == point)
        {
            let why = "must not already exist as a path in volumeDevices";
            errors.push(FieldError::invalid(&point_path, point, why));
        }
        let of_image = volumes
            .get(name)
            .is_some_and(|volume| tree::at(volume, &["image"]).is_some());
        errors.extend(sub_path(mount, of_image, &path, &list_path));
        errors.extend(propagation(mount, container, &list_path));
        errors.extend(recursive_read_only(mount, &list_path));
    }
    errors
}

/// Upstream reports some problems of an item at the list (`list_path`).
fn sub_path(mount: &Value, of_image: bool, path: &FieldPath, list_path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let (plain, expanded) = (
        tree::text(mount, &["subPath"]),
        tree::text(mount, &["subPathExpr"]),
    );
    if !expanded.is_empty() && !plain.is_empty() {
        let why = "subPathExpr and subPath are mutually exclusive";
        errors.push(FieldError::invalid(&path.child("subPathExpr"), expanded, why));
    }
    for (field, text) in [("subPath", plain), ("subPathExpr", expanded)] {
        // An image may be mounted in part since 1.33, but not by an expression.
        if of_image && field == "subPathExpr" && !text.is_empty() {
            let why = "not allowed in image volume sources";
            errors.push(FieldError::invalid(&path.child(field), text, why));
        }
        errors.extend(check::descending_path(text, &list_path.child(field)));
    }
    errors
}

fn propagation(mount: &Value, container: &Value, path: &FieldPath) -> ErrorList {
    let supported = ["Bidirectional", "HostToContainer", "None"];
    let mut errors: ErrorList = check::optional_one_of(mount, "mountPropagation", path, &supported)
        .into_iter()
        .collect();
    let privileged = tree::flag(container, &["securityContext", "privileged"]);
    if tree::text(mount, &["mountPropagation"]) == "Bidirectional" && !privileged {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(FieldError::forbidden(&path.child("mountPropagation"), why));
    }
    errors
}

fn recursive_read_only(mount: &Value, path: &FieldPath) -> ErrorList {
    let field = "recursiveReadOnly";
    let supported = ["Disabled", "Enabled", "IfPossible"];
    if let Some(error) = check::optional_one_of(mount, field, path, &supported) {
        return vec![error];
    }
    let mut errors = ErrorList::new();
    if matches!(tree::text(mount, &[field]), "Enabled" | "IfPossible") {
        let path = path.child(field);
        if !tree::flag(mount, &["readOnly"]) {
            let why = "may only be specified when readOnly is true";
            errors.push(FieldError::forbidden(&path, why));
        }
        if !matches!(tree::text(mount, &["mountPropagation"]), "" | "None") {
            let why = "may only be specified when mountPropagation is None or not specified";
            errors.push(FieldError::forbidden(&path, why));
        }
    }
    errors
}

pub(super) fn devices(container: &Value, volumes: &Volumes<'_>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mounts = tree::list(container, &["volumeMounts"]);
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (i, device) in tree::list(container, &["volumeDevices"]).iter().enumerate() {
        let path = path.child("volumeDevices").index(i);
        let (name, file) = (tree::text(device, &["name"]), tree::text(device, &["devicePath"]));
        let (name_path, file_path) = (path.child("name"), path.child("devicePath"));
        errors.extend(check::required(device, "name", &path));
        if !names.insert(name) {
            errors.push(FieldError::invalid(&name_path, name, "must be unique"));
        }
        match volumes.get(name) {
            None => errors.push(FieldError::not_found(&name_path, name)),
            Some(volume) => {
                let claimed = ["persistentVolumeClaim", "ephemeral"];
                if !claimed.iter().any(|field| tree::at(volume, &[field]).is_some()) {
                    let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                    errors.push(FieldError::invalid(&name_path, name, why));
                }
            }
        }
        errors.extend(check::required(device, "devicePath", &path));
        if !paths.insert(file) {
            errors.push(FieldError::invalid(&file_path, file, "must be unique"));
        }
        if check::no_backsteps(file, &file_path).is_some() {
            let why = "can not contain backsteps ('..')";
            errors.push(FieldError::invalid(&file_path, file, why));
        }
        if mounts.iter().any(|mount| tree::text(mount, &["name"]) == name) {
            let why = "must not already exist in volumeMounts";
            errors.push(FieldError::invalid(&name_path, name, why));
        }
        if mounts
            .iter()
            .any(|mount| tree::text(mount, &["mountPath"]) == file)
        {
            let why = "must not already exist as a path in volumeMounts";
            errors.push(FieldError::invalid(&file_path, file, why));
        }
    }
    errors
}
