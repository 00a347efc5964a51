//! Defaults of jobs (`pkg/apis/batch/v1/defaults.go`, 1.36).

use serde_json::Value;

use super::pod;
use crate::tree;

pub(super) fn job(object: &mut Value) {
    pod::template(object, &["spec", "template"]);
    let labels = tree::at(object, &["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels.filter(|labels| !tree::is_empty(labels))
        && tree::at(object, &["metadata", "labels"]).is_none_or(tree::is_empty)
    {
        tree::set(object, &["metadata", "labels"], labels);
    }
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    if tree::at(spec, &["completions"]).is_none() && tree::at(spec, &["parallelism"]).is_none() {
        tree::set(spec, &["completions"], 1);
    }
    tree::set_default(spec, "parallelism", 1);
    let limit = if tree::at(spec, &["backoffLimitPerIndex"]).is_some() {
        i32::MAX
    } else {
        6
    };
    tree::set_default(spec, "backoffLimit", limit);
    tree::set_default_text(spec, "completionMode", "NonIndexed");
    tree::set_default(spec, "suspend", false);
    tree::set_default(spec, "manualSelector", false);
    let replacement = if tree::at(spec, &["podFailurePolicy"]).is_some() {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    tree::set_default_text(spec, "podReplacementPolicy", replacement);
    for rule in tree::list_mut(spec, &["podFailurePolicy", "rules"]) {
        for condition in tree::list_mut(rule, &["onPodConditions"]) {
            tree::set_default_text(condition, "status", "True");
        }
    }
}

pub(super) fn cron_job(object: &mut Value) {
    pod::template(object, &["spec", "jobTemplate", "spec", "template"]);
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    tree::set_default_text(spec, "concurrencyPolicy", "Allow");
    tree::set_default(spec, "suspend", false);
    tree::set_default(spec, "successfulJobsHistoryLimit", 3);
    tree::set_default(spec, "failedJobsHistoryLimit", 1);
}
