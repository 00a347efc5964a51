//! LimitRange: default requests and limits, and bounds on what may be asked for.
//! Follows `plugin/pkg/admission/limitranger/admission.go`.

use super::{Context, Operation, Request};
use crate::status::ApiError;
use crate::tree;
use quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

type Amounts = BTreeMap<String, Quantity>;

pub(super) fn mutate(
    request: &Request<'_>,
    pod: &mut Value,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    if !request.creates("", "pods") {
        return Ok(());
    }
    for range in context.objects.list("", "limitranges", request.namespace) {
        for limit in items(&range, "Container") {
            for list in ["initContainers", "containers"] {
                for container in tree::list_mut(pod, &["spec", list]) {
                    fill(container, "requests", tree::at(limit, &["defaultRequest"]));
                    fill(container, "limits", tree::at(limit, &["default"]));
                }
            }
        }
    }
    Ok(())
}

fn fill(container: &mut Value, field: &str, defaults: Option<&Value>) {
    for (resource, amount) in defaults.and_then(Value::as_object).into_iter().flatten() {
        if tree::at(container, &["resources", field, resource]).is_none() {
            tree::set(container, &["resources", field, resource], amount.clone());
        }
    }
}

pub(super) fn validate(
    request: &Request<'_>,
    object: Option<&Value>,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    let Some(object) = object else { return Ok(()) };
    let pod = request.creates("", "pods");
    let claim = request.is("", "persistentvolumeclaims")
        && matches!(request.operation, Operation::Create | Operation::Update);
    if !pod && !claim {
        return Ok(());
    }
    let mut errors = Vec::new();
    for range in context.objects.list("", "limitranges", request.namespace) {
        if claim {
            let asked = amounts(object, &["spec", "resources", "requests"]);
            for limit in items(&range, "PersistentVolumeClaim") {
                bounds(
                    "PersistentVolumeClaim",
                    limit,
                    &asked,
                    &Amounts::new(),
                    &mut errors,
                );
            }
            continue;
        }
        for container in tree::list(object, &["spec", "containers"]) {
            for limit in items(&range, "Container") {
                let requests = amounts(container, &["resources", "requests"]);
                let limits = amounts(container, &["resources", "limits"]);
                bounds("Container", limit, &requests, &limits, &mut errors);
            }
        }
        for limit in items(&range, "Pod") {
            let total = |field: &str| {
                let mut sum = Amounts::new();
                for container in tree::list(object, &["spec", "containers"]) {
                    for (resource, amount) in amounts(container, &["resources", field]) {
                        let so_far = sum.remove(&resource).unwrap_or_else(|| Quantity::from_int(0));
                        sum.insert(resource, so_far + amount);
                    }
                }
                sum
            };
            bounds("Pod", limit, &total("requests"), &total("limits"), &mut errors);
        }
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(request.forbidden(one)),
        many => Err(request.forbidden(format!("[{}]", many.join(", ")))),
    }
}

fn items<'a>(range: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    tree::list(range, &["spec", "limits"])
        .iter()
        .filter(move |limit| tree::text(limit, &["type"]) == kind)
}

fn amounts(object: &Value, path: &[&str]) -> Amounts {
    let map = tree::map(object, path).into_iter().flatten();
    map.filter_map(|(k, v)| Some((k.clone(), Quantity::from_value(v).ok()?)))
        .collect()
}

fn bounds(kind: &str, limit: &Value, requests: &Amounts, limits: &Amounts, errors: &mut Vec<String>) {
    for (resource, least) in amounts(limit, &["min"]) {
        match requests.get(&resource) {
            None => errors.push(format!(
                "minimum {resource} usage per {kind} is {least}.  No request is specified"
            )),
            Some(asked) if *asked < least => {
                errors.push(format!(
                    "minimum {resource} usage per {kind} is {least}, but request is {asked}"
                ));
            }
            Some(_) => {}
        }
        if let Some(given) = limits.get(&resource)
            && *given < least
        {
            errors.push(format!(
                "minimum {resource} usage per {kind} is {least}, but limit is {given}"
            ));
        }
    }
    let claim = kind == "PersistentVolumeClaim";
    for (resource, most) in amounts(limit, &["max"]) {
        let (amounts, word) = if claim {
            (requests, "request")
        } else {
            (limits, "limit")
        };
        match amounts.get(&resource) {
            None => errors.push(format!(
                "maximum {resource} usage per {kind} is {most}.  No {word} is specified"
            )),
            Some(given) if *given > most => {
                errors.push(format!(
                    "maximum {resource} usage per {kind} is {most}, but {word} is {given}"
                ));
            }
            Some(_) => {}
        }
    }
    for (resource, ratio) in amounts(limit, &["maxLimitRequestRatio"]) {
        let (Some(asked), Some(given)) = (requests.get(&resource), limits.get(&resource)) else {
            errors.push(format!("{resource} max limit to request ratio per {kind} is {ratio}, but no request is specified or request is 0"));
            continue;
        };
        // given / asked > ratio, without division.
        let exceeded = i128::from(given.milli_value()) * 1000
            > i128::from(asked.milli_value()) * i128::from(ratio.milli_value());
        if exceeded {
            errors.push(format!(
                "{resource} max limit to request ratio per {kind} is {ratio}, but provided ratio is higher"
            ));
        }
    }
}
