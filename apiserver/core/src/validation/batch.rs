//! Jobs and cron jobs (`pkg/apis/batch/validation/validation.go`).

mod failure_policy;
mod schedule;

use std::collections::BTreeSet;

use serde_json::Value;

use self::failure_policy::{failure_policy, success_policy};
use super::{check, pod};
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::label_selector::{self, LabelSelector};
use crate::{names, tree};

const INDEXED: &str = "Indexed";
const MAX_PARALLELISM_INDEXED: i64 = 100_000;
/// Beyond this many indexes, failures by index are not kept in full.
const MAX_COMPLETIONS_SOFT: i64 = 100_000;
const MAX_PARALLELISM_MANY: i64 = 10_000;

pub(super) fn job(job: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = job.get("spec").unwrap_or(&Value::Null);
    let mut errors = generated_selector(job);
    errors.extend(job_with_selector(spec, &path));
    let completions = tree::int(spec, &["completions"]).unwrap_or(0);
    if tree::text(spec, &["completionMode"]) == INDEXED && completions > 0 {
        let host = format!("{}-{}", tree::name(job), completions - 1);
        if !names::dns1123_label(&host, false).is_empty() {
            let why = format!("will not able to create pod with invalid DNS label: {host}");
            let path = FieldPath::new("metadata.name");
            errors.push(FieldError::invalid(&path, tree::name(job), why));
        }
    }
    errors
}

/// A selector that the server made tells the pods of this very job.
fn generated_selector(job: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    if tree::flag(job, &["spec", "manualSelector"]) {
        return errors;
    }
    let Some(selector) = tree::at(job, &["spec", "selector"]) else {
        return errors;
    };
    let path = FieldPath::new("spec.template.metadata.labels");
    let labels = tree::at(job, &["spec", "template", "metadata", "labels"]);
    let expected = [
        ("batch.kubernetes.io/controller-uid", tree::uid(job)),
        ("batch.kubernetes.io/job-name", tree::name(job)),
        ("controller-uid", tree::uid(job)),
        ("job-name", tree::name(job)),
    ];
    for (key, value) in expected {
        let why = format!("must be '{value}'");
        match labels.and_then(|labels| labels.get(key)).and_then(Value::as_str) {
            Some(found) if found == value => {}
            Some(_) => {
                let shown = labels.cloned().unwrap_or_default();
                errors.push(FieldError::invalid(&path.key(key), shown, why));
            }
            None => errors.push(FieldError::required(&path.key(key), why)),
        }
    }
    let matches = LabelSelector::from_object(Some(selector)).matches_labels(|key| {
        expected
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| *value)
    });
    if !matches {
        let path = FieldPath::new("spec.selector");
        errors.push(FieldError::invalid(
            &path,
            selector.clone(),
            "`selector` not auto-generated",
        ));
    }
    errors
}

fn job_with_selector(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = job_spec(spec, path);
    let Some(selector) = tree::at(spec, &["selector"]) else {
        errors.push(FieldError::required(&path.child("selector"), ""));
        return errors;
    };
    errors.extend(label_selector::validate(selector, &path.child("selector")));
    let labels = tree::at(spec, &["template", "metadata", "labels"]);
    if !LabelSelector::from_object(Some(selector)).matches_map(labels) {
        let shown = labels.cloned().unwrap_or_else(|| serde_json::json!({}));
        let why = "`selector` does not match template `labels`";
        let path = path.child("template").child("metadata").child("labels");
        errors.push(FieldError::invalid(&path, shown, why));
    }
    errors
}

fn job_spec(spec: &Value, path: &FieldPath) -> ErrorList {
    let numbers = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    let mut errors = check::not_negative(spec, &numbers, path);
    let modes = ["NonIndexed", INDEXED];
    errors.extend(check::optional_one_of(spec, "completionMode", path, &modes));
    let indexed = tree::text(spec, &["completionMode"]) == INDEXED;
    if indexed {
        errors.extend(indexed_numbers(spec, path));
    }
    for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
        if !indexed && tree::at(spec, &[field]).is_some() {
            let number = spec[field].clone();
            let why = "requires indexed completion mode";
            errors.push(FieldError::invalid(&path.child(field), number, why));
        }
    }
    if tree::at(spec, &["backoffLimitPerIndex"]).is_none() && tree::at(spec, &["maxFailedIndexes"]).is_some()
    {
        let why = "when maxFailedIndexes is specified";
        errors.push(FieldError::required(&path.child("backoffLimitPerIndex"), why));
    }
    errors.extend(managed_by(spec, path));
    let replacements = ["Failed", "TerminatingOrFailed"];
    if tree::at(spec, &["podFailurePolicy"]).is_some() {
        let policy = tree::text(spec, &["podReplacementPolicy"]);
        if !matches!(policy, "" | "Failed") {
            let path = path.child("podReplacementPolicy");
            errors.push(FieldError::not_supported(&path, policy, &["Failed"]));
        }
        errors.extend(failure_policy(spec, &path.child("podFailurePolicy")));
    } else {
        errors.extend(check::optional_one_of(
            spec,
            "podReplacementPolicy",
            path,
            &replacements,
        ));
    }
    errors.extend(success_policy(spec, indexed, &path.child("successPolicy")));
    let template = spec.get("template").unwrap_or(&Value::Null);
    errors.extend(pod::template(template, &path.child("template")));
    let policy = tree::text(spec, &["template", "spec", "restartPolicy"]);
    let path = path.child("template").child("spec").child("restartPolicy");
    match policy {
        "OnFailure" if tree::at(spec, &["podFailurePolicy"]).is_some() => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(&path, policy, why));
        }
        "OnFailure" | "Never" => {}
        // What a user leaves out becomes Always: name what there is to choose from.
        "" | "Always" => errors.push(FieldError::required(
            &path,
            "valid values: \"OnFailure\", \"Never\"",
        )),
        _ => errors.push(FieldError::not_supported(&path, policy, &["OnFailure", "Never"])),
    }
    errors
}

fn indexed_numbers(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let parallelism = tree::int(spec, &["parallelism"]).unwrap_or(0);
    let Some(completions) = tree::int(spec, &["completions"]) else {
        let why = "when completion mode is Indexed";
        return vec![FieldError::required(&path.child("completions"), why)];
    };
    if parallelism > MAX_PARALLELISM_INDEXED {
        let why = format!(
            "must be less than or equal to {MAX_PARALLELISM_INDEXED} when completion mode is Indexed"
        );
        errors.push(FieldError::invalid(&path.child("parallelism"), parallelism, why));
    }
    if tree::at(spec, &["backoffLimitPerIndex"]).is_none() {
        return errors;
    }
    let most = tree::int(spec, &["maxFailedIndexes"]);
    if let Some(most) = most.filter(|most| *most > completions) {
        let why = "must be less than or equal to completions";
        errors.push(FieldError::invalid(&path.child("maxFailedIndexes"), most, why));
    }
    if completions > MAX_COMPLETIONS_SOFT {
        let when = format!("when completions are greater than {MAX_COMPLETIONS_SOFT}");
        match most {
            None => errors.push(FieldError::required(
                &path.child("maxFailedIndexes"),
                format!("must be specified {when}"),
            )),
            Some(most) if most > MAX_PARALLELISM_MANY => errors.push(FieldError::invalid(
                &path.child("maxFailedIndexes"),
                most,
                format!("must be less than or equal to {MAX_PARALLELISM_MANY} {when}"),
            )),
            Some(_) => {}
        }
        if parallelism > MAX_PARALLELISM_MANY {
            let why = format!(
                "must be less than or equal to {MAX_PARALLELISM_MANY} {when} and used with backoff limit per index"
            );
            errors.push(FieldError::invalid(&path.child("parallelism"), parallelism, why));
        }
    }
    errors
}

fn managed_by(spec: &Value, path: &FieldPath) -> ErrorList {
    let name = tree::text(spec, &["managedBy"]);
    if tree::at(spec, &["managedBy"]).is_none() {
        return ErrorList::new();
    }
    let path = path.child("managedBy");
    match name.split_once('/') {
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => check::subdomain(domain, &path),
        _ => vec![FieldError::invalid(
            &path,
            name,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        )],
    }
}

/// What an update of a job may change. A job that waits may still be told where to run.
pub(super) fn job_update(new: &Value, old: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let null = Value::Null;
    let (now, before) = (new.get("spec").unwrap_or(&null), old.get("spec").unwrap_or(&null));
    let mut errors = job_with_selector(now, &path);
    let grows_with_parallelism = tree::text(now, &["completionMode"]) == INDEXED
        && tree::int(now, &["completions"]) == tree::int(now, &["parallelism"])
        && tree::int(now, &["completions"]).is_some();
    if !grows_with_parallelism {
        errors.extend(check::immutable(now, before, &["completions"], &path));
    }
    let fixed = ["selector", "completionMode", "podFailurePolicy"];
    errors.extend(check::immutable(now, before, &fixed, &path));
    errors.extend(check::immutable(now, before, &["managedBy"], &path));
    errors.extend(check::immutable(
        now,
        before,
        &["backoffLimitPerIndex", "successPolicy"],
        &path,
    ));
    let never_started = tree::flag(before, &["suspend"]) && tree::at(old, &["status", "startTime"]).is_none();
    let mut template = before.get("template").cloned().unwrap_or_default();
    if never_started {
        let now = now.get("template").unwrap_or(&null);
        for at in [
            &["spec", "affinity", "nodeAffinity"][..],
            &["spec", "nodeSelector"],
            &["spec", "tolerations"],
            &["spec", "schedulingGates"],
            &["metadata", "annotations"],
            &["metadata", "labels"],
        ] {
            tree::restore(&mut template, now, at);
        }
    }
    let now_template = tree::at(now, &["template"]);
    if !tree::same(now_template, Some(&template)) {
        let shown = now_template.cloned().unwrap_or_default();
        errors.push(FieldError::invalid(
            &path.child("template"),
            shown,
            check::IMMUTABLE,
        ));
    }
    errors
}

/// The reported numbers and conditions of a job.
pub(super) fn job_status(new: &Value) -> ErrorList {
    let path = FieldPath::new("status");
    let status = new.get("status").unwrap_or(&Value::Null);
    let numbers = ["active", "succeeded", "failed", "ready", "terminating"];
    let mut errors = check::not_negative(status, &numbers, &path);
    let holds = |kind: &str| {
        tree::list(status, &["conditions"]).iter().any(|condition| {
            tree::text(condition, &["type"]) == kind && tree::text(condition, &["status"]) == "True"
        })
    };
    if holds("Complete") && holds("Failed") {
        let shown = tree::at(status, &["conditions"]).cloned().unwrap_or_default();
        let why = "cannot set Complete=True and Failed=true conditions";
        errors.push(FieldError::invalid(&path.child("conditions"), shown, why));
    }
    let mut seen = BTreeSet::new();
    for list in ["succeeded", "failed"] {
        let uids = tree::list(status, &["uncountedTerminatedPods", list]).iter();
        for (i, uid) in uids.filter_map(Value::as_str).enumerate() {
            let path = path.child("uncountedTerminatedPods").child(list).index(i);
            if uid.is_empty() {
                errors.push(FieldError::invalid(&path, uid, "must not be empty"));
            } else if !seen.insert(uid) {
                errors.push(FieldError::duplicate(&path, uid));
            }
        }
    }
    errors
}

/// Names of jobs are the name of their cron job and eleven characters.
const MAX_CRON_JOB_NAME: usize = names::LABEL_MAX - 11;

pub(super) fn cron_job_create(object: &Value) -> ErrorList {
    let mut errors = cron_job(object);
    errors.extend(time_zone(object));
    let name = tree::name(object);
    if name.len() > MAX_CRON_JOB_NAME {
        let why = format!("must be no more than {MAX_CRON_JOB_NAME} characters");
        errors.push(FieldError::invalid(&FieldPath::new("metadata.name"), name, why));
    }
    errors
}

pub(super) fn cron_job_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = cron_job(new);
    let zone = ["spec", "timeZone"];
    if tree::text(new, &zone) != tree::text(old, &zone) {
        errors.extend(time_zone(new));
    }
    errors
}

fn cron_job(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut errors = ErrorList::new();
    let text = tree::text(spec, &["schedule"]);
    let schedule_path = path.child("schedule");
    if text.is_empty() {
        errors.push(FieldError::required(&schedule_path, ""));
    } else {
        if let Err(why) = schedule::parse(text) {
            errors.push(FieldError::invalid(&schedule_path, text, why));
        }
        if text.contains("TZ") {
            let why = if tree::at(spec, &["timeZone"]).is_some() {
                "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            } else {
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            };
            errors.push(FieldError::invalid(&schedule_path, text, why));
        }
    }
    let numbers = [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ];
    errors.extend(check::not_negative(spec, &numbers, &path));
    let policies = ["Allow", "Forbid", "Replace"];
    errors.extend(check::one_of(spec, "concurrencyPolicy", &path, &policies));
    let job = tree::at(spec, &["jobTemplate", "spec"]).unwrap_or(&Value::Null);
    let path = path.child("jobTemplate").child("spec");
    errors.extend(job_spec(job, &path));
    if let Some(selector) = tree::at(job, &["selector"]) {
        let why = "`selector` will be auto-generated";
        errors.push(FieldError::invalid(
            &path.child("selector"),
            selector.clone(),
            why,
        ));
    }
    if tree::flag(job, &["manualSelector"]) {
        let path = path.child("manualSelector");
        errors.push(FieldError::not_supported(&path, true, &["nil", "false"]));
    }
    errors
}

/// The form of a zone name only: which zones there are is known where schedules are kept.
fn time_zone(object: &Value) -> Option<FieldError> {
    let zone = tree::at(object, &["spec", "timeZone"])?.as_str()?;
    let path = FieldPath::new("spec.timeZone");
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'+'))
    };
    let why = if zone.is_empty() {
        "timeZone must be nil or non-empty string".to_owned()
    } else if zone.eq_ignore_ascii_case("Local") {
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
    } else if !zone.split('/').all(part) {
        format!("unknown time zone {zone}")
    } else {
        return None;
    };
    Some(FieldError::invalid(&path, zone, why))
}

#[cfg(test)]
mod tests;
