//! A pod's priority comes from its class. Follows `plugin/pkg/admission/priority/admission.go`.

use super::{Context, Operation, Request};
use crate::status::ApiError;
use crate::tree;
use serde_json::Value;

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";

pub(super) fn mutate(
    request: &Request<'_>,
    pod: &mut Value,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    if !request.creates("", "pods") {
        return Ok(());
    }
    let named = tree::text(pod, &["spec", "priorityClassName"]).to_owned();
    let class = if named.is_empty() {
        default_class(context)
    } else {
        let found = context.objects.get(GROUP, CLASSES, "", &named);
        Some(
            found
                .ok_or_else(|| request.forbidden(format!("no PriorityClass with name {named} was found")))?,
        )
    };
    let (value, policy) = match &class {
        Some(class) => (
            tree::int(class, &["value"]).unwrap_or(0),
            tree::text(class, &["preemptionPolicy"]),
        ),
        None => (0, ""),
    };
    if let Some(given) = tree::int(pod, &["spec", "priority"])
        && given != value
    {
        return Err(request.forbidden(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission \
             controller computed {value} from the given PriorityClass name"
        )));
    }
    if named.is_empty()
        && let Some(class) = &class
    {
        tree::set(pod, &["spec", "priorityClassName"], tree::name(class));
    }
    tree::set(pod, &["spec", "priority"], value);
    let policy = if policy.is_empty() {
        "PreemptLowerPriority"
    } else {
        policy
    };
    match tree::text(pod, &["spec", "preemptionPolicy"]) {
        "" => tree::set(pod, &["spec", "preemptionPolicy"], policy),
        given if given != policy => {
            return Err(request.forbidden(format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority \
                 admission controller computed {policy} from the given PriorityClass name"
            )));
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn validate(
    request: &Request<'_>,
    object: Option<&Value>,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    let Some(class) = object.filter(|_| request.is(GROUP, CLASSES) && request.operation != Operation::Delete)
    else {
        return Ok(());
    };
    if !tree::flag(class, &["globalDefault"]) {
        return Ok(());
    }
    let others = context.objects.list(GROUP, CLASSES, "");
    match others
        .iter()
        .find(|c| tree::flag(c, &["globalDefault"]) && tree::name(c) != tree::name(class))
    {
        None => Ok(()),
        Some(other) => Err(request.forbidden(format!(
            "PriorityClass {} is already marked as default. Only one default can exist",
            tree::name(other)
        ))),
    }
}

/// The default class of lowest value: two may exist for a moment, when replicas raced.
fn default_class(context: &Context<'_>) -> Option<std::sync::Arc<Value>> {
    let classes = context.objects.list(GROUP, CLASSES, "");
    classes
        .into_iter()
        .filter(|class| tree::flag(class, &["globalDefault"]))
        .min_by_key(|class| tree::int(class, &["value"]).unwrap_or(0))
}
