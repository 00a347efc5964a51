//! The default ingress class. Follows `plugin/pkg/admission/network/defaultingressclass`.

use super::{Context, Request};
use crate::status::ApiError;
use crate::tree;
use serde_json::Value;

const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

pub(super) fn ingress_class(
    request: &Request<'_>,
    ingress: &mut Value,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    if !request.creates("networking.k8s.io", "ingresses")
        || tree::at(ingress, &["spec", "ingressClassName"]).is_some()
        || tree::annotation(ingress, "kubernetes.io/ingress.class").is_some()
    {
        return Ok(());
    }
    let classes = context.objects.list("networking.k8s.io", "ingressclasses", "");
    let newest = classes
        .iter()
        .filter(|class| tree::annotation(class, DEFAULT_CLASS) == Some("true"))
        .max_by_key(|class| tree::text(class, &["metadata", "creationTimestamp"]).to_owned());
    if let Some(class) = newest {
        tree::set(ingress, &["spec", "ingressClassName"], tree::name(class));
    }
    Ok(())
}
