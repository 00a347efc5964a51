//! Budgets, priorities, quotas and limits (`pkg/apis/{policy,scheduling}/validation`, `ValidateResourceQuota`,
//! `ValidateLimitRange`).

use std::collections::{BTreeMap, BTreeSet};

use quantity::Quantity;
use serde_json::Value;

use super::{check, pod};
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{label_selector, tree};

pub(super) fn disruption_budget(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut errors = ErrorList::new();
    let sides = ["minAvailable", "maxUnavailable"];
    if sides.iter().all(|field| tree::at(spec, &[field]).is_some()) {
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid(&path, spec.clone(), why));
    }
    for field in sides {
        errors.extend(check::int_or_percent(spec, field, &path));
        errors.extend(check::at_most_all(spec, field, &path));
    }
    if let Some(selector) = tree::at(spec, &["selector"]) {
        errors.extend(label_selector::validate(selector, &path.child("selector")));
    }
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    errors.extend(check::optional_one_of(
        spec,
        "unhealthyPodEvictionPolicy",
        &path,
        &policies,
    ));
    errors
}

pub(super) fn disruption_budget_status(object: &Value) -> ErrorList {
    let status = object.get("status").unwrap_or(&Value::Null);
    let numbers = [
        "disruptionsAllowed",
        "currentHealthy",
        "desiredHealthy",
        "expectedPods",
    ];
    check::not_negative(status, &numbers, &FieldPath::new("status"))
}

const SYSTEM_PREFIX: &str = "system-";
const MAX_USER_PRIORITY: i64 = 1_000_000_000;
const SYSTEM_CLASSES: [(&str, i64); 2] = [
    ("system-node-critical", 2_000_001_000),
    ("system-cluster-critical", 2_000_000_000),
];

pub(super) fn priority_class(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let name = tree::name(object);
    let value = tree::int(object, &["value"]).unwrap_or(0);
    if name.starts_with(SYSTEM_PREFIX) {
        let problem = match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, wanted)) if *wanted != value => {
                Some(format!("value of {name} PriorityClass must be {wanted}"))
            }
            Some(_) if tree::flag(object, &["globalDefault"]) => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            let why = format!(
                "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {problem}"
            );
            errors.push(FieldError::forbidden(&FieldPath::new("metadata.name"), why));
        }
    } else if value > MAX_USER_PRIORITY {
        let why = format!("maximum allowed value of a user defined priority is {MAX_USER_PRIORITY}");
        errors.push(FieldError::forbidden(&FieldPath::new("value"), why));
    }
    let policies = ["PreemptLowerPriority", "Never"];
    errors.extend(check::optional_one_of(
        object,
        "preemptionPolicy",
        &FieldPath::default(),
        &policies,
    ));
    errors
}

pub(super) fn priority_class_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    if tree::int(new, &["value"]).unwrap_or(0) != tree::int(old, &["value"]).unwrap_or(0) {
        let why = "may not be changed in an update.";
        errors.push(FieldError::forbidden(&FieldPath::new("value"), why));
    }
    errors.extend(check::immutable(
        new,
        old,
        &["preemptionPolicy"],
        &FieldPath::default(),
    ));
    errors
}

fn amounts(object: &Value, at: [&str; 2]) -> ErrorList {
    let path = FieldPath::new(&at.join("."));
    let mut errors = ErrorList::new();
    for (name, _) in tree::map(object, &at).into_iter().flatten() {
        errors.extend(pod::resource_name(name, &path.key(name)));
    }
    errors.extend(pod::quantities(object, &at, &path));
    errors
}

pub(super) fn quota(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let mut errors = amounts(object, ["spec", "hard"]);
    errors.extend(quota_scopes(object, &path.child("scopes")));
    let expressions = tree::list(object, &["spec", "scopeSelector", "matchExpressions"]);
    let path = path.child("scopeSelector").child("matchExpressions");
    for expression in expressions {
        errors.extend(scope_expression(expression, object, &path));
    }
    errors
}

pub(super) fn quota_status(object: &Value) -> ErrorList {
    let mut errors = amounts(object, ["status", "hard"]);
    errors.extend(amounts(object, ["status", "used"]));
    errors
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Resources that a scope can tell apart: those of pods, of best-effort pods their number alone, of classes of
/// volumes the claims.
fn scope_fits(scope: &str, resource: &str) -> bool {
    let of_claims = matches!(
        resource,
        "persistentvolumeclaims" | "requests.storage" | "storage"
    );
    let of_pods = matches!(
        resource,
        "pods"
            | "cpu"
            | "memory"
            | "requests.cpu"
            | "requests.memory"
            | "limits.cpu"
            | "limits.memory"
            | "ephemeral-storage"
            | "requests.ephemeral-storage"
            | "limits.ephemeral-storage"
    ) || resource.contains("hugepages-");
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => of_claims,
        _ => of_pods,
    }
}

/// Names that have a domain are not judged: nobody knows what they count.
fn hard_names(object: &Value) -> impl Iterator<Item = &str> {
    tree::map(object, &["spec", "hard"])
        .into_iter()
        .flat_map(|map| map.keys())
        .map(String::as_str)
        .filter(|name| !name.contains('/'))
}

fn quota_scopes(object: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = tree::list(object, &["spec", "scopes"]);
    let scopes: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    let mut fail = |why: &str| errors.push(FieldError::invalid(path, list.to_vec(), why));
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            fail("unsupported scope");
        } else if hard_names(object).any(|name| !scope_fits(scope, name)) {
            fail("unsupported scope applied to resource");
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            fail("conflicting scopes");
        }
    }
    errors
}

fn scope_expression(expression: &Value, object: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let scope = tree::text(expression, &["scopeName"]);
    let operator = tree::text(expression, &["operator"]);
    let values = tree::list(expression, &["values"]);
    if !SCOPES.contains(&scope) {
        errors.push(FieldError::invalid(
            &path.child("scopeName"),
            scope,
            "unsupported scope",
        ));
    } else if hard_names(object).any(|name| !scope_fits(scope, name)) {
        let shown = tree::at(object, &["spec", "scopeSelector"])
            .cloned()
            .unwrap_or_default();
        errors.push(FieldError::invalid(
            path,
            shown,
            "unsupported scope applied to resource",
        ));
    }
    if !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && operator != "Exists" {
        let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                   ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort \
                   or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.push(FieldError::invalid(&path.child("operator"), operator, why));
    }
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(FieldError::required(&path.child("values"), why));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(FieldError::invalid(&path.child("values"), values.to_vec(), why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(FieldError::invalid(
            &path.child("operator"),
            other,
            "not a valid selector operator",
        )),
    }
    errors
}

pub(super) fn quota_update(new: &Value, old: &Value) -> Option<FieldError> {
    let scopes = |object: &Value| -> BTreeSet<String> {
        tree::list(object, &["spec", "scopes"])
            .iter()
            .filter_map(|scope| scope.as_str().map(str::to_owned))
            .collect()
    };
    (scopes(new) != scopes(old)).then(|| {
        let shown = tree::list(new, &["spec", "scopes"]).to_vec();
        FieldError::invalid(&FieldPath::new("spec.scopes"), shown, check::IMMUTABLE)
    })
}

const SIDES: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

pub(super) fn limit_range(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut kinds = BTreeSet::new();
    for (i, limit) in tree::list(object, &["spec", "limits"]).iter().enumerate() {
        let path = FieldPath::new("spec.limits").index(i);
        let kind = tree::text(limit, &["type"]);
        let problems = check::qualified_name(kind, &path.child("type"));
        let known = ["Pod", "Container", "PersistentVolumeClaim"];
        if problems.is_empty() && !kind.contains('/') && !known.contains(&kind) {
            let why = "must be a standard limit type or fully qualified";
            errors.push(FieldError::invalid(&path.child("type"), kind, why));
        }
        errors.extend(problems);
        if !kinds.insert(kind) {
            errors.push(FieldError::duplicate(&path.child("type"), kind));
        }
        if kind == "Pod" {
            for side in ["default", "defaultRequest"] {
                if tree::at(limit, &[side]).is_some_and(|value| !tree::is_empty(value)) {
                    let why = "may not be specified when `type` is 'Pod'";
                    errors.push(FieldError::forbidden(&path.child(side), why));
                }
            }
        }
        let bounded = ["min", "max"]
            .iter()
            .any(|side| tree::at(limit, &[side, "storage"]).is_some());
        if kind == "PersistentVolumeClaim" && !bounded {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            errors.push(FieldError::required(&path.child("limits"), why));
        }
        errors.extend(limit_amounts(limit, kind, &path));
    }
    errors
}

fn limit_amounts(limit: &Value, kind: &str, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut by_name: BTreeMap<&str, BTreeMap<&str, Quantity>> = BTreeMap::new();
    for side in SIDES {
        if kind == "Pod" && side.starts_with("default") {
            continue;
        }
        for (name, value) in tree::map(limit, &[side]).into_iter().flatten() {
            let at = path.child(side).key(name);
            errors.extend(if matches!(kind, "Pod" | "Container") {
                pod::container_name(name, &at)
            } else {
                pod::resource_name(name, &at)
            });
            match check::quantity(value, &at) {
                Ok(amount) => drop(by_name.entry(name).or_default().insert(side, amount)),
                Err(error) => errors.push(error),
            }
        }
    }
    for (name, amounts) in by_name {
        errors.extend(limit_order(name, &amounts, path));
    }
    errors
}

/// Minimum, default request, default and maximum of one resource come in this order.
fn limit_order(name: &str, amounts: &BTreeMap<&str, Quantity>, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    // What is smaller, what is larger, where it is reported, whose amount is shown; and the words for the two.
    let orders = [
        ("min", "max", "min", "min", "min value", "max value"),
        (
            "min",
            "defaultRequest",
            "defaultRequest",
            "defaultRequest",
            "min value",
            "default request value",
        ),
        (
            "defaultRequest",
            "max",
            "defaultRequest",
            "defaultRequest",
            "default request value",
            "max value",
        ),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "defaultRequest",
            "default request value",
            "default limit value",
        ),
        ("min", "default", "default", "min", "min value", "default value"),
        ("default", "max", "default", "max", "default value", "max value"),
    ];
    for (small, large, side, shown, small_word, large_word) in orders {
        let (Some(a), Some(b)) = (amounts.get(small), amounts.get(large)) else {
            continue;
        };
        if a > b {
            let why = format!("{small_word} {a} is greater than {large_word} {b}");
            let at = path.child(side).key(name);
            errors.push(FieldError::invalid(&at, amounts[shown].to_string(), why));
        }
    }
    if let Some(ratio) = amounts.get("maxLimitRequestRatio") {
        let at = path.child("maxLimitRequestRatio").key(name);
        if *ratio < Quantity::from_int(1) {
            let why = format!("ratio {ratio} is less than 1");
            errors.push(FieldError::invalid(&at, ratio.to_string(), why));
        }
        if let (Some(min), Some(max)) = (amounts.get("min"), amounts.get("max"))
            && let Some(most) = quotient(*max, *min)
            && quotient(*ratio, Quantity::from_int(1)).is_some_and(|ratio| ratio > most)
        {
            let why = format!("ratio {ratio} is greater than max/min = {most:.6}");
            errors.push(FieldError::invalid(&at, ratio.to_string(), why));
        }
    }
    if let (Some(limit), Some(request)) = (amounts.get("default"), amounts.get("defaultRequest"))
        && limit != request
        && !pod::allows_overcommit(name)
    {
        let why = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
        let at = path.child("defaultRequest").key(name);
        errors.push(FieldError::invalid(&at, request.to_string(), why));
    }
    errors
}

/// Only compared and printed: the precision of a float is what upstream has, too.
#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio of amounts is an estimate, as upstream"
)]
fn quotient(a: Quantity, b: Quantity) -> Option<f64> {
    (!b.is_zero()).then(|| a.milli_value() as f64 / b.milli_value() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(errors: impl IntoIterator<Item = FieldError>) -> Vec<String> {
        errors.into_iter().map(|error| error.to_string()).collect()
    }

    #[test]
    fn names_and_values_of_the_system_are_reserved() {
        let class = |name: &str, value: i64| {
            texts(priority_class(
                &json!({"metadata": {"name": name}, "value": value}),
            ))
        };
        assert_eq!(class("high", 1_000_000_000), Vec::<String>::new());
        assert_eq!(class("system-node-critical", 2_000_001_000), Vec::<String>::new());
        assert_eq!(
            class("high", 1_000_000_001),
            ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
        );
        assert_eq!(
            class("system-x", 1),
            [
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use \
                 only. error: system-x is not a known system priority class"
            ]
        );
    }

    #[test]
    fn limits_come_in_order() {
        let limits = |limit: Value| texts(limit_range(&json!({"spec": {"limits": [limit]}})));
        let good = json!({"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "2"}, "default": {"cpu": "1"},
            "defaultRequest": {"cpu": "500m"}, "maxLimitRequestRatio": {"cpu": "10"}});
        assert_eq!(limits(good), Vec::<String>::new());
        assert_eq!(
            limits(json!({"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}})),
            ["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"]
        );
        assert_eq!(
            limits(json!({"type": "Pod", "default": {"cpu": "1"}})),
            ["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"]
        );
    }

    #[test]
    fn scopes_fit_what_they_are_applied_to() {
        let quota_of =
            |scopes: Value, hard: Value| texts(quota(&json!({"spec": {"scopes": scopes, "hard": hard}})));
        assert_eq!(
            quota_of(json!(["Terminating"]), json!({"pods": "1", "example.com/a": "1"})),
            Vec::<String>::new()
        );
        assert_eq!(
            quota_of(json!(["BestEffort"]), json!({"cpu": "1"})),
            ["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"]
        );
        assert_eq!(
            quota_of(json!([]), json!({"pods": "1500m"})),
            ["spec.hard[pods]: Invalid value: \"1500m\": must be an integer"]
        );
    }
}
