//! Horizontal pod autoscalers (`pkg/apis/autoscaling/validation/validation.go`).

use quantity::Quantity;
use serde_json::Value;

use super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{label_selector, names, tree};

pub(super) fn autoscaler(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut errors = ErrorList::new();
    let max = tree::int(spec, &["maxReplicas"]).unwrap_or(0);
    if let Some(min) = tree::int(spec, &["minReplicas"]) {
        if min < 1 {
            let why = "must be greater than or equal to 1";
            errors.push(FieldError::invalid(&path.child("minReplicas"), min, why));
        }
        if max < min {
            let why = "must be greater than or equal to `minReplicas`";
            errors.push(FieldError::invalid(&path.child("maxReplicas"), max, why));
        }
    }
    if max < 1 {
        let why = "must be greater than 0";
        errors.push(FieldError::invalid(&path.child("maxReplicas"), max, why));
    }
    let target = spec.get("scaleTargetRef").unwrap_or(&Value::Null);
    errors.extend(reference(target, &path.child("scaleTargetRef")));
    for (i, metric) in tree::list(spec, &["metrics"]).iter().enumerate() {
        errors.extend(metric_spec(metric, &path.child("metrics").index(i)));
    }
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = tree::at(spec, &["behavior", direction]) {
            errors.extend(scaling_rules(rules, &path.child("behavior").child(direction)));
        }
    }
    errors
}

fn reference(target: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for field in ["kind", "name"] {
        let text = tree::text(target, &[field]);
        if text.is_empty() {
            errors.push(FieldError::required(&path.child(field), ""));
        } else {
            errors.extend(check::invalid(
                &path.child(field),
                text,
                names::path_segment(text, false),
            ));
        }
    }
    errors
}

/// Types of metrics and their fields.
const METRICS: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

fn metric_spec(metric: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let kind = tree::text(metric, &["type"]);
    let known: Vec<&str> = METRICS.iter().map(|(kind, _)| *kind).collect();
    if kind.is_empty() {
        let why = "must specify a metric source type";
        return vec![FieldError::required(&path.child("type"), why)];
    }
    let Some((_, wanted)) = METRICS.iter().find(|(known, _)| *known == kind) else {
        return vec![FieldError::not_supported(&path.child("type"), kind, &known)];
    };
    for (_, field) in METRICS {
        let path = path.child(field);
        match tree::at(metric, &[field]) {
            Some(_) if field != *wanted => {
                let why = "must not be set, only the field of the given metric source type may be";
                errors.push(FieldError::forbidden(&path, why));
            }
            Some(source) => errors.extend(metric_source(source, field, &path)),
            None if field == *wanted => {
                let why = "must populate information for the given metric source";
                errors.push(FieldError::required(&path, why));
            }
            None => {}
        }
    }
    errors
}

fn metric_source(source: &Value, kind: &str, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    if kind == "object" {
        let object = source.get("describedObject").unwrap_or(&Value::Null);
        errors.extend(reference(object, &path.child("describedObject")));
    }
    if matches!(kind, "resource" | "containerResource") {
        if tree::text(source, &["name"]).is_empty() {
            let why = "must specify a resource name";
            errors.push(FieldError::required(&path.child("name"), why));
        }
    } else {
        let metric = source.get("metric").unwrap_or(&Value::Null);
        let path = path.child("metric");
        let name = tree::text(metric, &["name"]);
        if name.is_empty() {
            let why = "must specify a metric name";
            errors.push(FieldError::required(&path.child("name"), why));
        } else {
            errors.extend(check::invalid(
                &path.child("name"),
                name,
                names::path_segment(name, false),
            ));
        }
        if let Some(selector) = tree::at(metric, &["selector"]) {
            errors.extend(label_selector::validate(selector, &path.child("selector")));
        }
    }
    if kind == "containerResource" {
        errors.extend(check::required(source, "container", path));
    }
    let target = source.get("target").unwrap_or(&Value::Null);
    errors.extend(metric_target(target, kind, &path.child("target")));
    errors
}

fn metric_target(target: &Value, kind: &str, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let kinds = ["Utilization", "Value", "AverageValue"];
    let given = tree::text(target, &["type"]);
    if given.is_empty() {
        let why = "must specify a metric target type";
        errors.push(FieldError::required(&path.child("type"), why));
    } else if !kinds.contains(&given) {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(&path.child("type"), given, why));
    }
    for field in ["value", "averageValue"] {
        if let Some(value) = tree::at(target, &[field]) {
            match check::quantity(value, &path.child(field)) {
                Ok(amount) if amount <= Quantity::default() => {
                    let why = "must be positive";
                    errors.push(FieldError::invalid(&path.child(field), amount.to_string(), why));
                }
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
        }
    }
    let percent = tree::int(target, &["averageUtilization"]);
    if let Some(percent) = percent.filter(|percent| *percent < 1) {
        let why = "must be greater than 0";
        errors.push(FieldError::invalid(
            &path.child("averageUtilization"),
            percent,
            why,
        ));
    }
    let has = |field| tree::at(target, &[field]).is_some();
    let missing = match kind {
        "resource" | "containerResource" => (!has("averageUtilization") && !has("averageValue")).then_some((
            "averageUtilization",
            "must set either a target raw value or a target utilization",
        )),
        "pods" => {
            (!has("averageValue")).then_some(("averageValue", "must specify a positive target averageValue"))
        }
        _ => (!has("value") && !has("averageValue")).then_some((
            "averageValue",
            "must set either a target value for metric or a per-pod target",
        )),
    };
    if let Some((field, why)) = missing {
        errors.push(FieldError::required(&path.child(field), why));
    }
    errors
}

const MAX_PERIOD_SECONDS: i64 = 1800;
const MAX_WINDOW_SECONDS: i64 = 3600;

fn scaling_rules(rules: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(seconds) = tree::int(rules, &["stabilizationWindowSeconds"]) {
        let at = path.child("stabilizationWindowSeconds");
        if seconds < 0 {
            let why = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(&at, seconds, why));
        } else if seconds > MAX_WINDOW_SECONDS {
            let why = format!("must be less than or equal to {MAX_WINDOW_SECONDS}");
            errors.push(FieldError::invalid(&at, seconds, why));
        }
    }
    let choices = ["Disabled", "Max", "Min"];
    errors.extend(check::optional_one_of(rules, "selectPolicy", path, &choices));
    let policies = tree::list(rules, &["policies"]);
    let path = path.child("policies");
    if policies.is_empty() {
        errors.push(FieldError::required(&path, "must specify at least one Policy"));
    }
    for (i, policy) in policies.iter().enumerate() {
        let path = path.index(i);
        let kind = tree::text(policy, &["type"]);
        let kinds = ["Percent", "Pods"];
        if !kinds.contains(&kind) {
            errors.push(FieldError::not_supported(&path.child("type"), kind, &kinds));
        }
        for field in ["value", "periodSeconds"] {
            let number = tree::int(policy, &[field]).unwrap_or(0);
            if number <= 0 {
                let why = "must be greater than zero";
                errors.push(FieldError::invalid(&path.child(field), number, why));
            } else if field == "periodSeconds" && number > MAX_PERIOD_SECONDS {
                let why = format!("must be less than or equal to {MAX_PERIOD_SECONDS}");
                errors.push(FieldError::invalid(&path.child(field), number, why));
            }
        }
    }
    errors
}
