//! Kinds that are stored, listed and watched, but whose effect this server doesn't have.
//!
//! Whoever writes one is told so: a policy that looks installed and isn't enforced would be worse than an error.

use apiserver_core::{Resource, tree};
use serde_json::Value;

/// The text of a `Warning` for a write of such an object.
pub(crate) fn warning(resource: &Resource, object: &Value) -> Option<String> {
    if resource.custom {
        return None;
    }
    let effect = match (resource.gvr.group.as_str(), resource.gvr.resource.as_str()) {
        (
            "admissionregistration.k8s.io",
            "validatingwebhookconfigurations" | "mutatingwebhookconfigurations",
        ) => "admission webhooks are not called",
        ("admissionregistration.k8s.io", _) => "admission policies are not evaluated",
        ("apiextensions.k8s.io", "customresourcedefinitions") => "custom resources are not served",
        ("apiregistration.k8s.io", "apiservices") if tree::at(object, &["spec", "service"]).is_some() => {
            "requests are not passed on to extension API servers"
        }
        _ => return None,
    };
    Some(format!(
        "{} is stored without effect: this API server has no such feature yet, {effect}",
        resource.kind
    ))
}
