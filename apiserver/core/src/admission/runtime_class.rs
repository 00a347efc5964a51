//! A pod's runtime class adds its overhead and where it can run.
//! Follows `plugin/pkg/admission/runtimeclass/admission.go`.

use super::service_account::push;
use super::{Context, Request};
use crate::status::ApiError;
use crate::tree;
use serde_json::Value;

pub(super) fn mutate(
    request: &Request<'_>,
    pod: &mut Value,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    let name = tree::text(pod, &["spec", "runtimeClassName"]).to_owned();
    if !request.creates("", "pods") || name.is_empty() {
        return Ok(());
    }
    let Some(class) = context.objects.get("node.k8s.io", "runtimeclasses", "", &name) else {
        return Err(request.forbidden(format!("pod rejected: RuntimeClass \"{name}\" not found")));
    };
    if let Some(overhead) = tree::at(&class, &["overhead", "podFixed"]) {
        match tree::at(pod, &["spec", "overhead"]) {
            Some(given) if !tree::same(Some(given), Some(overhead)) => {
                return Err(request.forbidden(
                    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
                ));
            }
            _ => tree::set(pod, &["spec", "overhead"], overhead.clone()),
        }
    }
    for (key, value) in tree::strings(&class, &["scheduling", "nodeSelector"]) {
        match tree::at(pod, &["spec", "nodeSelector", key]).and_then(Value::as_str) {
            Some(given) if given != value => {
                return Err(request.forbidden(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {given}"
                )));
            }
            _ => tree::set(pod, &["spec", "nodeSelector", key], value),
        }
    }
    for toleration in tree::list(&class, &["scheduling", "tolerations"]) {
        if !tree::list(pod, &["spec", "tolerations"]).contains(toleration)
            && let Some(spec) = tree::at_mut(pod, &["spec"])
        {
            push(spec, "tolerations", toleration.clone());
        }
    }
    Ok(())
}
