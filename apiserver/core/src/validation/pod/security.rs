//! Security settings of pods and containers (`validatePodSpecSecurityContext`, `ValidateSecurityContext`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

/// Unless a pod says otherwise, its users are users of the host.
fn host_users(spec: &Value) -> bool {
    tree::at(spec, &["hostUsers"]).and_then(Value::as_bool) != Some(false)
}

pub(super) fn pod(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(context) = tree::at(spec, &["securityContext"]) {
        errors.extend(pod_context(context, spec, &path.child("securityContext")));
    }
    if tree::flag(spec, &["shareProcessNamespace"]) && tree::flag(spec, &["hostPID"]) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        let path = path.child("securityContext").child("shareProcessNamespace");
        errors.push(FieldError::invalid(&path, true, why));
    }
    if !host_users(spec) {
        for (field, shown) in [
            ("hostNetwork", "hostNetwork"),
            ("hostPID", "HostPID"),
            ("hostIPC", "HostIPC"),
        ] {
            if tree::flag(spec, &[field]) {
                let why = "when `pod.Spec.HostUsers` is false";
                errors.push(FieldError::forbidden(&path.child(shown), why));
            }
        }
    }
    errors
}

fn pod_context(context: &Value, spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = ["fsGroup", "runAsUser", "runAsGroup"]
        .iter()
        .filter_map(|field| check::user_id(context, field, path))
        .collect();
    for (i, group) in tree::list(context, &["supplementalGroups"]).iter().enumerate() {
        let path = path.child("supplementalGroups").index(i);
        errors.extend(group.as_i64().and_then(|group| check::id_in_range(group, &path)));
    }
    errors.extend(sysctls(context, spec, &path.child("sysctls")));
    for (field, supported) in [
        ("fsGroupChangePolicy", ["Always", "OnRootMismatch"]),
        ("supplementalGroupsPolicy", ["Merge", "Strict"]),
        ("seLinuxChangePolicy", ["MountOption", "Recursive"]),
    ] {
        errors.extend(check::optional_one_of(context, field, path, &supported));
    }
    errors.extend(profiles(context, path));
    errors
}

fn sysctls(context: &Value, spec: &Value, path: &FieldPath) -> ErrorList {
    const MAX: usize = 253;
    let mut errors = ErrorList::new();
    let mut seen = BTreeSet::new();
    for (i, sysctl) in tree::list(context, &["sysctls"]).iter().enumerate() {
        let path = path.index(i).child("name");
        let name = tree::text(sysctl, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else if name.len() > MAX || !name.split(['.', '/']).all(is_sysctl_segment) {
            let why = format!(
                "must have at most {MAX} characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            errors.push(FieldError::invalid(&path, name, why));
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(&path, name));
        }
        let dotted = name.replace('/', ".");
        let of_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."]
            .iter()
            .any(|prefix| dotted.starts_with(prefix))
            || dotted == "kernel.sem";
        if tree::flag(spec, &["hostNetwork"]) && dotted.starts_with("net.") {
            let why = "may not be specified when 'hostNetwork' is true";
            errors.push(FieldError::invalid(&path, name, why));
        } else if tree::flag(spec, &["hostIPC"]) && of_ipc {
            let why = "may not be specified when 'hostIPC' is true";
            errors.push(FieldError::invalid(&path, name, why));
        }
    }
    errors
}

fn is_sysctl_segment(segment: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = segment.as_bytes();
    bytes.first().is_some_and(|c| plain(*c))
        && bytes.last().is_some_and(|c| plain(*c))
        && bytes.iter().all(|c| plain(*c) || matches!(c, b'-' | b'_'))
}

pub(super) fn container(container: &Value, spec: &Value, path: &FieldPath) -> ErrorList {
    let Some(context) = tree::at(container, &["securityContext"]) else {
        return ErrorList::new();
    };
    let path = path.child("securityContext");
    let mut errors: ErrorList = ["runAsUser", "runAsGroup"]
        .iter()
        .filter_map(|field| check::user_id(context, field, &path))
        .collect();
    errors.extend(check::optional_one_of(
        context,
        "procMount",
        &path,
        &["Default", "Unmasked"],
    ));
    if host_users(spec) && tree::text(context, &["procMount"]) == "Unmasked" {
        let why = "`hostUsers` must be false to use `Unmasked`";
        errors.push(FieldError::invalid(&path.child("procMount"), "Unmasked", why));
    }
    if tree::at(context, &["allowPrivilegeEscalation"]).and_then(Value::as_bool) == Some(false) {
        if tree::flag(context, &["privileged"]) {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(&path, context.clone(), why));
        }
        let added = tree::list(context, &["capabilities", "add"]);
        if added.iter().any(|name| name == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(&path, context.clone(), why));
        }
    }
    errors.extend(profiles(context, &path));
    errors
}

/// Profiles of seccomp and AppArmor.
fn profiles(context: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for (field, kind) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let Some(profile) = tree::at(context, &[field]) else {
            continue;
        };
        let path = path.child(field);
        let (kind_path, local_path) = (path.child("type"), path.child("localhostProfile"));
        let local = tree::at(profile, &["localhostProfile"]).and_then(Value::as_str);
        let supported = ["Localhost", "RuntimeDefault", "Unconfined"];
        match tree::text(profile, &["type"]) {
            "" => {
                let why = format!("type is required when {field} is set");
                errors.push(FieldError::required(&kind_path, why));
            }
            "Localhost" => {
                let why = format!("must be set when {kind} type is Localhost");
                match local {
                    None | Some("") => errors.push(FieldError::required(&local_path, why)),
                    Some(file) if kind == "seccomp" => {
                        errors.extend(check::descending_path(file, &local_path));
                    }
                    Some(name) if name.trim() != name => {
                        let why = "must not be padded with whitespace";
                        errors.push(FieldError::invalid(&local_path, name, why));
                    }
                    Some(_) => {}
                }
                continue;
            }
            kind if !supported.contains(&kind) => {
                errors.push(FieldError::not_supported(&kind_path, kind, &supported));
            }
            _ => {}
        }
        if let Some(local) = local {
            let why = format!("can only be set when {kind} type is Localhost");
            errors.push(FieldError::invalid(&local_path, local, why));
        }
    }
    errors
}
