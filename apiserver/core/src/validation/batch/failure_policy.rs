//! When failed pods fail a job, and which indexes make it succeed (`validatePodFailurePolicy`,
//! `validateSuccessPolicy`).

use serde_json::Value;

use super::super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_PATTERNS: usize = 20;
const MAX_INDEXES: usize = 64 * 1024;

/// An upper bound of a list.
fn limited(list: &[Value], max: usize, path: &FieldPath) -> Option<FieldError> {
    (list.len() > max).then(|| FieldError::too_many(path, list.len(), max))
}

pub(super) fn failure_policy(spec: &Value, path: &FieldPath) -> ErrorList {
    let path = path.child("rules");
    let rules = tree::list(spec, &["podFailurePolicy", "rules"]);
    let mut errors: ErrorList = limited(rules, MAX_RULES, &path).into_iter().collect();
    for (i, rule) in rules.iter().enumerate() {
        let path = path.index(i);
        errors.extend(action(rule, spec, &path));
        let codes = tree::at(rule, &["onExitCodes"]);
        let patterns = tree::list(rule, &["onPodConditions"]);
        if codes.is_some() && !patterns.is_empty() {
            let why = "specifying both OnExitCodes and OnPodConditions is not supported";
            errors.push(FieldError::invalid(&path, rule.clone(), why));
        } else if codes.is_none() && patterns.is_empty() {
            let why = "specifying one of OnExitCodes and OnPodConditions is required";
            errors.push(FieldError::invalid(&path, rule.clone(), why));
        }
        if let Some(codes) = codes {
            errors.extend(exit_codes(codes, spec, &path.child("onExitCodes")));
        }
        let patterns_path = path.child("onPodConditions");
        errors.extend(limited(patterns, MAX_PATTERNS, &patterns_path));
        for (j, pattern) in patterns.iter().enumerate() {
            let path = patterns_path.index(j);
            errors.extend(check::qualified_name(
                tree::text(pattern, &["type"]),
                &path.child("type"),
            ));
            let states = ["False", "True", "Unknown"];
            errors.extend(check::one_of(pattern, "status", &path, &states));
        }
    }
    errors
}

fn action(rule: &Value, spec: &Value, path: &FieldPath) -> ErrorList {
    let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
    let mut errors: ErrorList = check::one_of(rule, "action", path, &actions)
        .into_iter()
        .collect();
    let by_index = tree::at(spec, &["backoffLimitPerIndex"]).is_some();
    if tree::text(rule, &["action"]) == "FailIndex" && !by_index {
        let why = "requires the backoffLimitPerIndex to be set";
        errors.push(FieldError::invalid(&path.child("action"), "FailIndex", why));
    }
    errors
}

fn exit_codes(codes: &Value, spec: &Value, path: &FieldPath) -> ErrorList {
    let operators = ["In", "NotIn"];
    let operator = tree::text(codes, &["operator"]);
    let mut errors: ErrorList = check::one_of(codes, "operator", path, &operators)
        .into_iter()
        .collect();
    if let Some(name) = tree::at(codes, &["containerName"]).and_then(Value::as_str) {
        let known = ["containers", "initContainers"]
            .iter()
            .flat_map(|list| tree::list(spec, &["template", "spec", list]))
            .any(|container| tree::text(container, &["name"]) == name);
        if !known {
            let why = "must be one of the container or initContainer names in the pod template";
            errors.push(FieldError::invalid(&path.child("containerName"), name, why));
        }
    }
    let path = path.child("values");
    let values = tree::list(codes, &["values"]);
    if values.is_empty() {
        let why = "at least one value is required";
        errors.push(FieldError::invalid(&path, values.to_vec(), why));
    }
    errors.extend(limited(values, MAX_EXIT_CODES, &path));
    let mut previous: Option<i64> = None;
    for (i, value) in values.iter().filter_map(Value::as_i64).enumerate() {
        let path = path.index(i);
        if operator == "In" && value == 0 {
            let why = "must not be 0 for the In operator";
            errors.push(FieldError::invalid(&path, value, why));
        }
        match previous {
            Some(before) if before == value => errors.push(FieldError::duplicate(&path, value)),
            Some(before) if before > value => {
                errors.push(FieldError::invalid(&path, value, "must be ordered"));
            }
            _ => {}
        }
        previous = Some(value);
    }
    errors
}

pub(super) fn success_policy(spec: &Value, indexed: bool, path: &FieldPath) -> ErrorList {
    let Some(policy) = tree::at(spec, &["successPolicy"]) else {
        return ErrorList::new();
    };
    if !indexed {
        let why = "requires indexed completion mode";
        return vec![FieldError::invalid(path, policy.clone(), why)];
    }
    let path = path.child("rules");
    let rules = tree::list(policy, &["rules"]);
    let mut errors: ErrorList = limited(rules, MAX_RULES, &path).into_iter().collect();
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(&path, why));
    }
    let completions = tree::int(spec, &["completions"]).unwrap_or(0);
    for (i, rule) in rules.iter().enumerate() {
        errors.extend(success_rule(rule, completions, &path.index(i)));
    }
    errors
}

fn success_rule(rule: &Value, completions: i64, path: &FieldPath) -> ErrorList {
    let count = tree::int(rule, &["succeededCount"]);
    let indexes = tree::at(rule, &["succeededIndexes"]).and_then(Value::as_str);
    if count.is_none() && indexes.is_none() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        return vec![FieldError::required(path, why)];
    }
    let mut errors = check::not_negative(rule, &["succeededCount"], path);
    let mut total = completions;
    let what = if indexes.is_some() {
        "the number of indexes in the specified succeededIndexes field"
    } else {
        "the number of specified completions"
    };
    if let Some(text) = indexes {
        let path = path.child("succeededIndexes");
        if text.len() > MAX_INDEXES {
            errors.push(FieldError::too_long(&path, MAX_INDEXES));
        }
        match count_indexes(text, completions) {
            Ok(number) => total = number,
            Err(why) => {
                errors.push(FieldError::invalid(
                    &path,
                    text,
                    format!("error parsing succeededIndexes: {why}"),
                ));
                return errors;
            }
        }
    }
    if let Some(count) = count.filter(|count| *count > total) {
        let why = format!("must be less than or equal to {total} ({what})");
        errors.push(FieldError::invalid(&path.child("succeededCount"), count, why));
    }
    errors
}

/// How many indexes a text such as `1,3-5` names: rising, below `completions`.
fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let number = |part: &str| {
        let value = part
            .parse::<i64>()
            .map_err(|_| format!("cannot convert string to integer for index: \"{part}\""))?;
        if value < completions {
            Ok(value)
        } else {
            Err(format!("too large index: \"{part}\""))
        }
    };
    let (mut total, mut last) = (0, -1);
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = match interval.split_once('-') {
            Some((_, end)) if end.contains('-') => {
                return Err(format!(
                    "the fragment \"{interval}\" violates the requirement that an index interval can have at most two \
                     parts separated by '-'"
                ));
            }
            Some((first, end)) => (number(first)?, number(end)?),
            None => (number(interval)?, number(interval)?),
        };
        if first <= last || end < first {
            return Err(format!(
                "non-increasing order, previous: {last}, current: {first}"
            ));
        }
        total += end - first + 1;
        last = end;
    }
    Ok(total)
}
