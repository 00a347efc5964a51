//! The three lists of containers of a pod (`validateContainers`, `validateInitContainers`,
//! `validateEphemeralContainers`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::check;
use super::mounts::Volumes;
use super::{environment, handlers, mounts, resources, security};
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

/// What the containers of a pod refer to.
pub(super) struct Surroundings<'a> {
    pub spec: &'a Value,
    pub volumes: Volumes<'a>,
    /// Names of `resourceClaims`.
    pub claims: BTreeSet<&'a str>,
}

impl Surroundings<'_> {
    fn grace(&self) -> Option<i64> {
        tree::int(self.spec, &["terminationGracePeriodSeconds"])
    }
}

pub(super) fn all(around: &Surroundings<'_>, path: &FieldPath) -> ErrorList {
    let mut errors = regular(around, &path.child("containers"));
    errors.extend(init(around, &path.child("initContainers")));
    errors.extend(ephemeral(around, &path.child("ephemeralContainers")));
    errors
}

fn names<'a>(spec: &'a Value, list: &str) -> BTreeSet<&'a str> {
    tree::list(spec, &[list])
        .iter()
        .map(|container| tree::text(container, &["name"]))
        .collect()
}

fn regular(around: &Surroundings<'_>, path: &FieldPath) -> ErrorList {
    let containers = tree::list(around.spec, &["containers"]);
    if containers.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let mut errors = ErrorList::new();
    let (mut names, mut ports) = (BTreeSet::new(), BTreeSet::new());
    let mut conflicts = ErrorList::new();
    for (i, container) in containers.iter().enumerate() {
        let path = path.index(i);
        errors.extend(common(container, around, &path));
        let name = tree::text(container, &["name"]);
        if !names.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        errors.extend(handlers::all(container, around.grace(), &path));
        errors.extend(restart_policy(container, &path));
        conflicts.extend(host_ports(container, &mut ports, &path));
    }
    errors.extend(conflicts);
    errors
}

fn init(around: &Surroundings<'_>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut names = names(around.spec, "containers");
    for (i, container) in tree::list(around.spec, &["initContainers"]).iter().enumerate() {
        let path = path.index(i);
        errors.extend(common(container, around, &path));
        errors.extend(restart_policy(container, &path));
        let name = tree::text(container, &["name"]);
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        // Init containers run one by one: each may have the ports of another.
        errors.extend(host_ports(container, &mut BTreeSet::new(), &path));
        if tree::text(container, &["restartPolicy"]) == "Always" {
            errors.extend(handlers::all(container, around.grace(), &path));
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if tree::at(container, &[field]).is_some() {
                let why = "may not be set for init containers without restartPolicy=Always";
                errors.push(FieldError::forbidden(&path.child(field), why));
            }
        }
    }
    errors
}

/// Nothing that a pod relies on may come from a container that is added to look at it.
const NOT_EPHEMERAL: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

fn ephemeral(around: &Surroundings<'_>, path: &FieldPath) -> ErrorList {
    const WHY: &str = "cannot be set for an Ephemeral Container";
    let mut errors = ErrorList::new();
    let mut targets = names(around.spec, "containers");
    targets.extend(names(around.spec, "initContainers"));
    let mut names = targets.clone();
    for (i, container) in tree::list(around.spec, &["ephemeralContainers"])
        .iter()
        .enumerate()
    {
        let path = path.index(i);
        errors.extend(common(container, around, &path));
        errors.extend(image_padding(container, &path));
        let name = tree::text(container, &["name"]);
        if !names.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        let target = tree::text(container, &["targetContainerName"]);
        if !target.is_empty() && !targets.contains(target) {
            errors.push(FieldError::not_found(&path.child("targetContainerName"), target));
        }
        for field in NOT_EPHEMERAL {
            if tree::at(container, &[field]).is_some_and(|value| !tree::is_empty(value)) {
                errors.push(FieldError::forbidden(&path.child(field), WHY));
            }
        }
        for (j, mount) in tree::list(container, &["volumeMounts"]).iter().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !tree::text(mount, &[field]).is_empty() {
                    let path = path.child("volumeMounts").index(j).child(field);
                    errors.push(FieldError::forbidden(&path, WHY));
                }
            }
        }
    }
    errors
}

/// Templates may keep an image such as `" "`, which something fills in later; pods may not.
pub(super) fn image_padding(container: &Value, path: &FieldPath) -> Option<FieldError> {
    let image = tree::text(container, &["image"]);
    let why = "must not have leading or trailing whitespace";
    (image.trim() != image).then(|| FieldError::invalid(&path.child("image"), image, why))
}

fn common(container: &Value, around: &Surroundings<'_>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let name = tree::text(container, &["name"]);
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    } else {
        errors.extend(check::label(name, &path.child("name")));
    }
    errors.extend(check::required(container, "image", path));
    let policies = ["File", "FallbackToLogsOnError"];
    errors.extend(check::one_of(
        container,
        "terminationMessagePolicy",
        path,
        &policies,
    ));
    errors.extend(ports(container, path));
    errors.extend(environment::variables(container, path));
    errors.extend(environment::bulk_sources(container, path));
    errors.extend(mounts::mounts(container, &around.volumes, path));
    errors.extend(mounts::devices(container, &around.volumes, path));
    errors.extend(pull_policy(container, "imagePullPolicy", path));
    if let Some(amounts) = tree::at(container, &["resources"]) {
        errors.extend(resources::container(
            amounts,
            &around.claims,
            &path.child("resources"),
        ));
    }
    errors.extend(resize_policy(container, around.spec, &path.child("resizePolicy")));
    errors.extend(security::container(container, around.spec, path));
    errors
}

pub(super) fn pull_policy(holder: &Value, field: &str, path: &FieldPath) -> Option<FieldError> {
    check::one_of(holder, field, path, &["Always", "IfNotPresent", "Never"])
}

fn ports(container: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut names = BTreeSet::new();
    for (i, port) in tree::list(container, &["ports"]).iter().enumerate() {
        let path = path.child("ports").index(i);
        let name = tree::text(port, &["name"]);
        if !name.is_empty() {
            let problems = check::invalid(&path.child("name"), name, crate::names::port_name(name));
            if problems.is_empty() && !names.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            errors.extend(problems);
        }
        match tree::int(port, &["containerPort"]).unwrap_or(0) {
            0 => errors.push(FieldError::required(&path.child("containerPort"), "")),
            number => errors.extend(check::port_number(number, &path.child("containerPort"))),
        }
        if let Some(number) = host_port(port) {
            errors.extend(check::port_number(number, &path.child("hostPort")));
        }
        errors.extend(check::protocol(port, &path));
    }
    errors
}

fn host_port(port: &Value) -> Option<i64> {
    tree::int(port, &["hostPort"]).filter(|number| *number != 0)
}

/// Two containers cannot have one port of the host.
fn host_ports(container: &Value, taken: &mut BTreeSet<String>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, port) in tree::list(container, &["ports"]).iter().enumerate() {
        let Some(number) = host_port(port) else { continue };
        let (protocol, address) = (tree::text(port, &["protocol"]), tree::text(port, &["hostIP"]));
        let key = format!("{protocol}/{address}/{number}");
        if !taken.insert(key.clone()) {
            let path = path.child("ports").index(i).child("hostPort");
            errors.push(FieldError::duplicate(&path, key));
        }
    }
    errors
}

fn resize_policy(container: &Value, spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut seen = BTreeSet::new();
    for (i, policy) in tree::list(container, &["resizePolicy"]).iter().enumerate() {
        let (resource, restart) = (
            tree::text(policy, &["resourceName"]),
            tree::text(policy, &["restartPolicy"]),
        );
        if !seen.insert(resource) {
            errors.push(FieldError::duplicate(&path.index(i), resource));
        }
        for (text, supported) in [
            (resource, ["cpu", "memory"]),
            (restart, ["NotRequired", "RestartContainer"]),
        ] {
            if text.is_empty() {
                errors.push(FieldError::required(path, ""));
            } else if !supported.contains(&text) {
                errors.push(FieldError::not_supported(path, text, &supported));
            }
        }
        if tree::text(spec, &["restartPolicy"]) == "Never" && restart != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(path, restart, why));
        }
    }
    errors
}

/// Most rules of one container.
const MAX_RESTART_RULES: usize = 20;
/// Most exit codes of one rule.
const MAX_EXIT_CODES: usize = 255;

/// A container's own policy, and its rules by exit code (`ContainerRestartRules`).
fn restart_policy(container: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let policies = ["Always", "Never", "OnFailure"];
    errors.extend(check::optional_one_of(
        container,
        "restartPolicy",
        path,
        &policies,
    ));
    let rules = tree::list(container, &["restartPolicyRules"]);
    if rules.is_empty() {
        return errors;
    }
    if tree::at(container, &["restartPolicy"]).is_none() {
        let why = "must specify restartPolicy when restart rules are used";
        errors.push(FieldError::required(&path.child("restartPolicy"), why));
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > MAX_RESTART_RULES {
        errors.push(FieldError::too_many(&path, rules.len(), MAX_RESTART_RULES));
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = path.index(i);
        let action = tree::text(rule, &["action"]);
        let actions = ["Restart", "RestartAllContainers"];
        if !actions.contains(&action) {
            errors.push(FieldError::not_supported(&path.child("action"), action, &actions));
        }
        let Some(codes) = tree::at(rule, &["exitCodes"]) else {
            errors.push(FieldError::required(
                &path.child("exitCodes"),
                "must be specified",
            ));
            continue;
        };
        let path = path.child("exitCodes");
        let operator = tree::text(codes, &["operator"]);
        let operators = ["In", "NotIn"];
        if !operators.contains(&operator) {
            errors.push(FieldError::not_supported(
                &path.child("operator"),
                operator,
                &operators,
            ));
        }
        let count = tree::list(codes, &["values"]).len();
        if count > MAX_EXIT_CODES {
            errors.push(FieldError::too_many(&path.child("values"), count, MAX_EXIT_CODES));
        }
    }
    errors
}
