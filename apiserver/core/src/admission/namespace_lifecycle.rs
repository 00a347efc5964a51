//! Nothing is created in a namespace that isn't there or is going away; some namespaces stay for ever.

use super::{Objects, Operation, Request};
use crate::resource::GroupResource;
use crate::status::{ApiError, Cause};
use crate::tree;

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) fn check(request: &Request<'_>, objects: &dyn Objects) -> Result<(), ApiError> {
    if request.concerns("", "namespaces") {
        if request.operation == Operation::Delete && IMMORTAL.contains(&request.name) {
            return Err(request.forbidden("this namespace may not be deleted"));
        }
        return Ok(());
    }
    // Deletes and updates of what is still there must go on while a namespace empties.
    let asks_only = request.concerns("authorization.k8s.io", "localsubjectaccessreviews");
    if request.namespace.is_empty() || request.operation != Operation::Create || asks_only {
        return Ok(());
    }
    let Some(namespace) = objects.get("", "namespaces", "", request.namespace) else {
        return Err(ApiError::not_found(
            &GroupResource::new("", "namespaces"),
            request.namespace,
        ));
    };
    if tree::at(&namespace, &["metadata", "deletionTimestamp"]).is_none() {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {} because it is being terminated",
        request.namespace
    );
    Err(request.forbidden(why).with_cause(Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {} is being terminated", request.namespace),
        field: "metadata.namespace".to_owned(),
    }))
}
