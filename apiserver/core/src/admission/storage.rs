//! Claims get the default class and protection while in use; they grow only where their class lets them.
//! Follows `plugin/pkg/admission/storage`.

use super::service_account::push;
use super::{Context, Operation, Request};
use crate::status::ApiError;
use crate::tree;
use quantity::Quantity;
use serde_json::{Value, json};

const GROUP: &str = "storage.k8s.io";
const CLASSES: &str = "storageclasses";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) fn default_class(
    request: &Request<'_>,
    claim: &mut Value,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    if !request.creates("", "persistentvolumeclaims")
        || tree::at(claim, &["spec", "storageClassName"]).is_some()
        || tree::annotation(claim, CLASS_ANNOTATION).is_some()
    {
        return Ok(());
    }
    let classes = context.objects.list(GROUP, CLASSES, "");
    // The newest default wins, the first name among equals.
    let newest = classes
        .iter()
        .filter(|class| tree::annotation(class, DEFAULT_CLASS) == Some("true"))
        .min_by(|a, b| {
            let created = |class: &Value| tree::text(class, &["metadata", "creationTimestamp"]).to_owned();
            created(b)
                .cmp(&created(a))
                .then_with(|| tree::name(a).cmp(tree::name(b)))
        });
    if let Some(class) = newest {
        tree::set(claim, &["spec", "storageClassName"], tree::name(class));
    }
    Ok(())
}

pub(super) fn protect_in_use(
    request: &Request<'_>,
    object: &mut Value,
    _: &mut Context<'_>,
) -> Result<(), ApiError> {
    let finalizer = if request.creates("", "persistentvolumeclaims") {
        "kubernetes.io/pvc-protection"
    } else if request.creates("", "persistentvolumes") {
        "kubernetes.io/pv-protection"
    } else {
        return Ok(());
    };
    tree::ensure_map(object, &["metadata"]);
    if let Some(metadata) = tree::at_mut(object, &["metadata"]) {
        let there = tree::list(metadata, &["finalizers"])
            .iter()
            .any(|f| f.as_str() == Some(finalizer));
        if !there {
            push(metadata, "finalizers", json!(finalizer));
        }
    }
    Ok(())
}

pub(super) fn validate_resize(
    request: &Request<'_>,
    object: Option<&Value>,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    if request.operation != Operation::Update || !request.is("", "persistentvolumeclaims") {
        return Ok(());
    }
    let (Some(new), Some(old)) = (object, request.old) else {
        return Ok(());
    };
    let size = |claim: &Value| {
        let size = tree::at(claim, &["spec", "resources", "requests", "storage"])?;
        Quantity::from_value(size).ok()
    };
    let grows = matches!((size(old), size(new)), (Some(old), Some(new)) if new > old);
    if !grows {
        return Ok(());
    }
    if tree::text(old, &["status", "phase"]) != "Bound" {
        return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
    }
    let class = tree::text(new, &["spec", "storageClassName"]);
    let class = context.objects.get(GROUP, CLASSES, "", class);
    if class.is_some_and(|class| tree::flag(&class, &["allowVolumeExpansion"])) {
        return Ok(());
    }
    Err(request.forbidden(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    ))
}
