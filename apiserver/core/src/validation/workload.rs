//! Workloads that keep pods running (`pkg/apis/apps/validation/validation.go`, and replication controllers of
//! `pkg/apis/core/validation`).

use serde_json::{Value, json};

use super::{check, pod, storage};
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::label_selector::{self, LabelSelector};
use crate::{metadata, tree};

const MISMATCH: &str = "`selector` does not match template `labels`";

/// The label selector of a workload: there, valid, not empty, and matching the template at `spec.template`.
fn selector(spec: &Value, kind: &str, path: &FieldPath) -> ErrorList {
    let at = path.child("selector");
    let Some(selector) = tree::at(spec, &["selector"]) else {
        return vec![FieldError::required(&at, "")];
    };
    let mut errors = label_selector::validate(selector, &at);
    let valid = errors.is_empty();
    if ["matchLabels", "matchExpressions"]
        .iter()
        .all(|field| tree::at(selector, &[field]).is_none_or(tree::is_empty))
    {
        let why = format!("empty selector is invalid for {kind}");
        errors.push(FieldError::invalid(&at, selector.clone(), why));
    } else if valid {
        errors.extend(template_matches(
            &LabelSelector::from_object(Some(selector)),
            spec,
            path,
        ));
    }
    errors
}

fn template_matches(selector: &LabelSelector, spec: &Value, path: &FieldPath) -> Option<FieldError> {
    let labels = tree::at(spec, &["template", "metadata", "labels"]);
    let at = path.child("template").child("metadata").child("labels");
    let shown = labels.cloned().unwrap_or_else(|| json!({}));
    (!selector.matches_map(labels)).then(|| FieldError::invalid(&at, shown, MISMATCH))
}

/// Pods that are kept running restart always and have no end.
fn runs_forever(spec: &Value, kind: &str, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = path.child("template").child("spec");
    let policy = tree::text(spec, &["template", "spec", "restartPolicy"]);
    if policy != "Always" {
        let path = path.child("restartPolicy");
        errors.push(FieldError::not_supported(&path, policy, &["Always"]));
    }
    if tree::at(spec, &["template", "spec", "activeDeadlineSeconds"]).is_some() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(&path.child("activeDeadlineSeconds"), why));
    }
    errors
}

fn template(spec: &Value, path: &FieldPath) -> ErrorList {
    match tree::at(spec, &["template"]) {
        Some(template) => pod::template(template, &path.child("template")),
        None => vec![FieldError::required(&path.child("template"), "")],
    }
}

fn spec_of(object: &Value) -> (&Value, FieldPath) {
    (object.get("spec").unwrap_or(&Value::Null), FieldPath::new("spec"))
}

pub(super) fn deployment(object: &Value) -> ErrorList {
    let (spec, path) = spec_of(object);
    let numbers = [
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    ];
    let mut errors = check::not_negative(spec, &numbers, &path);
    errors.extend(selector(spec, "deployment", &path));
    errors.extend(template(spec, &path));
    errors.extend(runs_forever(spec, "ReplicaSet", &path));
    errors.extend(deployment_strategy(spec, &path.child("strategy")));
    let ready = tree::int(spec, &["minReadySeconds"]).unwrap_or(0);
    if let Some(deadline) = tree::int(spec, &["progressDeadlineSeconds"]).filter(|n| *n <= ready) {
        let why = "must be greater than minReadySeconds";
        let path = path.child("progressDeadlineSeconds");
        errors.push(FieldError::invalid(&path, deadline, why));
    }
    errors
}

fn deployment_strategy(spec: &Value, path: &FieldPath) -> ErrorList {
    let rolling = tree::at(spec, &["strategy", "rollingUpdate"]);
    let rolling_path = path.child("rollingUpdate");
    match (tree::text(spec, &["strategy", "type"]), rolling) {
        ("Recreate", Some(_)) => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            vec![FieldError::forbidden(&rolling_path, why)]
        }
        ("Recreate", None) => ErrorList::new(),
        ("RollingUpdate", None) => {
            let why = "this should be defaulted and never be nil";
            vec![FieldError::required(&rolling_path, why)]
        }
        ("RollingUpdate", Some(rolling)) => {
            let mut errors = check::int_or_percent(rolling, "maxUnavailable", &rolling_path);
            errors.extend(check::int_or_percent(rolling, "maxSurge", &rolling_path));
            if check::is_zero(rolling, "maxUnavailable") && check::is_zero(rolling, "maxSurge") {
                let shown = rolling.get("maxUnavailable").cloned().unwrap_or(json!(0));
                let why = "may not be 0 when `maxSurge` is 0";
                let path = rolling_path.child("maxUnavailable");
                errors.push(FieldError::invalid(&path, shown, why));
            }
            errors.extend(check::at_most_all(rolling, "maxUnavailable", &rolling_path));
            errors
        }
        _ => {
            let shown = tree::at(spec, &["strategy"]).cloned().unwrap_or_default();
            let supported = ["Recreate", "RollingUpdate"];
            vec![FieldError::not_supported(path, shown, &supported)]
        }
    }
}

pub(super) fn replica_set(object: &Value) -> ErrorList {
    let (spec, path) = spec_of(object);
    let mut errors = check::not_negative(spec, &["replicas", "minReadySeconds"], &path);
    errors.extend(selector(spec, "deployment", &path));
    errors.extend(template(spec, &path));
    errors.extend(runs_forever(spec, "ReplicaSet", &path));
    errors
}

pub(super) fn replication_controller(object: &Value) -> ErrorList {
    let (spec, path) = spec_of(object);
    let mut errors = check::not_negative(spec, &["minReadySeconds", "replicas"], &path);
    match tree::at(spec, &["selector"]).filter(|selector| !tree::is_empty(selector)) {
        None => errors.push(FieldError::required(&path.child("selector"), "")),
        Some(labels) => errors.extend(template_matches(&LabelSelector::from_map(labels), spec, &path)),
    }
    errors.extend(template(spec, &path));
    errors.extend(runs_forever(spec, "ReplicationController", &path));
    errors
}

pub(super) fn daemon_set(object: &Value) -> ErrorList {
    let (spec, path) = spec_of(object);
    let mut errors = selector(spec, "daemonset", &path);
    errors.extend(template(spec, &path));
    errors.extend(runs_forever(spec, "DaemonSet", &path));
    let numbers = ["minReadySeconds", "revisionHistoryLimit"];
    errors.extend(check::not_negative(spec, &numbers, &path));
    let path = path.child("updateStrategy");
    let strategy = tree::at(spec, &["updateStrategy"]);
    match tree::text(spec, &["updateStrategy", "type"]) {
        "OnDelete" => {}
        "RollingUpdate" => match strategy.and_then(|strategy| tree::at(strategy, &["rollingUpdate"])) {
            Some(rolling) => errors.extend(daemon_rolling(rolling, &path.child("rollingUpdate"))),
            None => errors.push(FieldError::required(&path.child("rollingUpdate"), "")),
        },
        _ => {
            let shown = strategy.cloned().unwrap_or_default();
            errors.push(FieldError::not_supported(
                &path,
                shown,
                &["RollingUpdate", "OnDelete"],
            ));
        }
    }
    errors
}

fn daemon_rolling(rolling: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for field in ["maxUnavailable", "maxSurge"] {
        errors.extend(check::int_or_percent(rolling, field, path));
        errors.extend(check::at_most_all(rolling, field, path));
    }
    match (
        check::is_zero(rolling, "maxUnavailable"),
        check::is_zero(rolling, "maxSurge"),
    ) {
        (false, false) => {
            let why = "may not be set when maxUnavailable is non-zero";
            errors.push(FieldError::invalid(
                &path.child("maxSurge"),
                rolling["maxSurge"].clone(),
                why,
            ));
        }
        (true, true) => {
            let why = "cannot be 0 when maxSurge is 0";
            errors.push(FieldError::required(&path.child("maxUnavailable"), why));
        }
        _ => {}
    }
    errors
}

pub(super) fn stateful_set(object: &Value) -> ErrorList {
    let (spec, path) = spec_of(object);
    let mut errors = stateful_settings(spec, &path);
    let numbers = ["replicas", "minReadySeconds", "revisionHistoryLimit"];
    errors.extend(check::not_negative(spec, &numbers, &path));
    if let Some(start) = tree::int(spec, &["ordinals", "start"]).filter(|start| *start < 0) {
        let path = path.child("ordinals.start");
        errors.push(FieldError::invalid(&path, start, check::NEGATIVE));
    }
    errors.extend(selector(spec, "statefulset", &path));
    match tree::at(spec, &["template"]) {
        Some(template) => errors.extend(pod::template(
            &with_claimed_volumes(template, spec),
            &path.child("template"),
        )),
        None => errors.push(FieldError::required(&path.child("template"), "")),
    }
    errors.extend(runs_forever(spec, "StatefulSet", &path));
    for (i, claim) in tree::list(spec, &["volumeClaimTemplates"]).iter().enumerate() {
        let path = path.child("volumeClaimTemplates").index(i);
        errors.extend(metadata::validate_labels(
            claim,
            &["metadata", "labels"],
            &path.child("metadata").child("labels"),
        ));
        let spec = claim.get("spec").unwrap_or(&Value::Null);
        errors.extend(storage::claim_spec(spec, &path.child("spec")));
    }
    errors
}

/// Every claim template becomes a volume of its name, in place of one that the template has.
fn with_claimed_volumes(template: &Value, spec: &Value) -> Value {
    let names: Vec<&str> = tree::list(spec, &["volumeClaimTemplates"])
        .iter()
        .map(tree::name)
        .collect();
    let mut template = template.clone();
    if names.is_empty() {
        return template;
    }
    let mut volumes = tree::list(&template, &["spec", "volumes"]).to_vec();
    volumes.retain(|volume| !names.contains(&tree::text(volume, &["name"])));
    let claimed = names
        .iter()
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    volumes.extend(claimed);
    tree::set(&mut template, &["spec", "volumes"], volumes);
    template
}

fn stateful_settings(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let policy = tree::text(spec, &["podManagementPolicy"]);
    let policy_path = path.child("podManagementPolicy");
    match policy {
        "OrderedReady" | "Parallel" => {}
        "" => errors.push(FieldError::required(&policy_path, "")),
        _ => {
            let why = "must be 'OrderedReady' or 'Parallel'";
            errors.push(FieldError::invalid(&policy_path, policy, why));
        }
    }
    let strategy_path = path.child("updateStrategy");
    let strategy = spec.get("updateStrategy").unwrap_or(&Value::Null);
    let rolling = tree::at(strategy, &["rollingUpdate"]);
    let rolling_path = strategy_path.child("rollingUpdate");
    match (tree::text(strategy, &["type"]), rolling) {
        ("", _) => errors.push(FieldError::required(&strategy_path, "")),
        ("OnDelete", Some(rolling)) => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid(&rolling_path, rolling.clone(), why));
        }
        ("RollingUpdate", Some(rolling)) => {
            errors.extend(check::not_negative(rolling, &["partition"], &rolling_path));
            errors.extend(check::int_or_percent(rolling, "maxUnavailable", &rolling_path));
            if let Some(most) = tree::at(rolling, &["maxUnavailable"])
                && check::is_zero(rolling, "maxUnavailable")
            {
                let path = rolling_path.child("maxUnavailable");
                errors.push(FieldError::invalid(&path, most.clone(), "cannot be 0"));
            }
            errors.extend(check::at_most_all(rolling, "maxUnavailable", &rolling_path));
        }
        ("OnDelete" | "RollingUpdate", None) => {}
        _ => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid(&strategy_path, strategy.clone(), why));
        }
    }
    if let Some(policy) = tree::at(spec, &["persistentVolumeClaimRetentionPolicy"]) {
        let path = path.child("persistentVolumeClaimRetentionPolicy");
        for field in ["whenDeleted", "whenScaled"] {
            let text = tree::text(policy, &[field]);
            let supported = ["Retain", "Delete"];
            if !supported.contains(&text) {
                errors.push(FieldError::not_supported(&path.child(field), text, &supported));
            }
        }
    }
    errors
}

/// What an update of a StatefulSet may change.
pub(super) fn stateful_set_update(new: &Value, old: &Value) -> ErrorList {
    let mut munged = new.get("spec").cloned().unwrap_or_default();
    let before = old.get("spec").unwrap_or(&Value::Null);
    for field in [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ] {
        tree::restore(&mut munged, before, &[field]);
    }
    if tree::same(Some(&munged), Some(before)) {
        return ErrorList::new();
    }
    let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
               'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
               'minReadySeconds' are forbidden";
    vec![FieldError::forbidden(&FieldPath::new("spec"), why)]
}

pub(super) fn controller_revision(object: &Value) -> ErrorList {
    let path = FieldPath::default();
    let mut errors = ErrorList::new();
    if tree::at(object, &["data"]).is_none() {
        errors.push(FieldError::required(&path.child("data"), "data is mandatory"));
    }
    errors.extend(check::not_negative(object, &["revision"], &path));
    errors
}

/// The reported numbers of any workload: not negative, and none beyond all replicas.
pub(super) fn status(new: &Value, old: &Value) -> ErrorList {
    let path = FieldPath::new("status");
    let Some(status) = tree::map(new, &["status"]) else {
        return ErrorList::new();
    };
    let mut errors = ErrorList::new();
    let count = |field: &str| tree::int(new, &["status", field]).unwrap_or(0);
    for (field, value) in status {
        if let Some(number) = value.as_i64().filter(|number| *number < 0) {
            errors.push(FieldError::invalid(&path.child(field), number, check::NEGATIVE));
        }
    }
    let parts = [
        "fullyLabeledReplicas",
        "updatedReplicas",
        "readyReplicas",
        "currentReplicas",
        "availableReplicas",
    ];
    for field in parts {
        if count(field) > count("replicas") {
            let why = "cannot be greater than status.replicas";
            errors.push(FieldError::invalid(&path.child(field), count(field), why));
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        let why = "cannot be greater than readyReplicas";
        let path = path.child("availableReplicas");
        errors.push(FieldError::invalid(&path, count("availableReplicas"), why));
    }
    let collisions = ["status", "collisionCount"];
    if tree::int(old, &collisions).is_some_and(|before| before > count("collisionCount")) {
        let path = path.child("collisionCount");
        errors.push(FieldError::invalid(
            &path,
            count("collisionCount"),
            "cannot be decremented",
        ));
    }
    errors
}
