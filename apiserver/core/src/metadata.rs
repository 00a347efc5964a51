//! Object metadata: checks, and the book-keeping of the server at creation and update.
//!
//! Follows `apimachinery/pkg/api/validation/objectmeta.go`, `apiserver/pkg/registry/rest/{create,update,meta}.go`
//! (1.36).

mod validation;

use serde_json::{Value, json};

use crate::field_error::ErrorList;
use crate::resource::Resource;
use crate::status::ApiError;
use crate::{FieldError, FieldPath, names, tree};

pub use validation::{validate, validate_annotations, validate_labels, validate_update};

/// What the server gives a new object.
#[derive(Clone, Debug)]
pub struct Creation<'a> {
    /// A new random UUID.
    pub uid: &'a str,
    /// RFC 3339, whole seconds: `2006-01-02T15:04:05Z`.
    pub now: &'a str,
    /// For the name, when only `generateName` is given.
    pub random: [u8; 5],
    /// The namespace of the request path; empty for cluster-scoped resources.
    pub namespace: &'a str,
}

/// Fills in what the server sets at creation and clears what a client may not set. Called before defaulting
/// strategies and admission; the object has to be a map.
///
/// # Errors
/// 400 when the namespace of the object is not the one of the request.
pub fn begin_create(
    object: &mut Value,
    resource: &Resource,
    creation: &Creation<'_>,
) -> Result<(), ApiError> {
    check_namespace(object, resource, creation.namespace)?;
    let metadata = tree::ensure_map(object, &["metadata"]);
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "generation",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), json!(creation.uid));
    metadata.insert("creationTimestamp".to_owned(), json!(creation.now));
    generate_name(object, creation.random);
    Ok(())
}

/// Sets the name from `generateName` if there is no name; true when it did.
pub fn generate_name(object: &mut Value, random: [u8; 5]) -> bool {
    let base = tree::text(object, &["metadata", "generateName"]);
    if base.is_empty() || !tree::name(object).is_empty() {
        return false;
    }
    let name = names::generate(base, random);
    tree::set(object, &["metadata", "name"], name);
    true
}

/// The namespace of the object has to be absent or the one of the request; it is set to it.
///
/// # Errors
/// 400 with upstream's text.
pub fn check_namespace(object: &mut Value, resource: &Resource, namespace: &str) -> Result<(), ApiError> {
    let given = tree::namespace(object).to_owned();
    if !resource.namespaced {
        // Upstream keeps it until validation, which refuses it with 422.
        return Ok(());
    }
    if !given.is_empty() && given != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    tree::set(object, &["metadata", "namespace"], namespace);
    Ok(())
}

/// The checks of a new object: metadata and the strategy's own.
///
/// # Errors
/// 422 with every problem found.
pub fn validate_create(object: &Value, resource: &Resource) -> Result<(), ApiError> {
    let mut errors = validate(object, resource);
    errors.extend(resource.strategy.validate(object));
    fail_if_any(object, resource, errors)
}

/// 422 if there are errors.
///
/// # Errors
/// That one.
pub fn fail_if_any(object: &Value, resource: &Resource, errors: ErrorList) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    let name = match tree::name(object) {
        "" => tree::text(object, &["metadata", "generateName"]),
        name => name,
    };
    Err(ApiError::invalid(
        &resource.gvr.group,
        &resource.kind,
        name,
        &errors,
    ))
}

/// Takes over from the old object what an update cannot change. Called before the strategy's own preparation.
///
/// # Errors
/// 400 for another name or namespace, 409 for another uid, 422 for a missing resource version where it is
/// mandatory.
pub fn begin_update(new: &mut Value, old: &Value, resource: &Resource) -> Result<(), ApiError> {
    check_namespace(new, resource, tree::namespace(old))?;
    let name = tree::name(new).to_owned();
    if name.is_empty() {
        return Err(ApiError::bad_request("name must be provided"));
    }
    if name != tree::name(old) {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            tree::name(old)
        )));
    }
    let group_resource = resource.group_resource();
    let uid = tree::uid(new).to_owned();
    if !uid.is_empty() && uid != tree::uid(old) {
        return Err(ApiError::conflict(
            &group_resource,
            &name,
            format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                tree::uid(old)
            ),
        ));
    }
    let version = tree::resource_version(new);
    if version.is_empty() || version == "0" {
        if !resource.strategy.allow_unconditional_update() {
            let path = FieldPath::new("metadata.resourceVersion");
            let error = FieldError::invalid(&path, 0, "must be specified for an update");
            return Err(ApiError::invalid(
                &resource.gvr.group,
                &resource.kind,
                &name,
                &[error],
            ));
        }
    } else if version != tree::resource_version(old) {
        return Err(ApiError::modified(&group_resource, &name));
    }
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        tree::restore(new, old, &["metadata", field]);
    }
    tree::remove(new, &["metadata", "selfLink"]);
    // An object whose generation was never counted starts to be counted with its first spec change.
    tree::restore(new, old, &["metadata", "generateName"]);
    Ok(())
}

/// The checks of a changed object: metadata and the strategy's own.
///
/// # Errors
/// 422 with every problem found.
pub fn validate_change(
    new: &Value,
    old: &Value,
    resource: &Resource,
    subresource: &str,
) -> Result<(), ApiError> {
    let mut errors = validate_update(new, old);
    if subresource.is_empty() {
        errors.extend(resource.strategy.validate_update(new, old));
    } else {
        errors.extend(
            resource
                .strategy
                .validate_subresource_update(subresource, new, old),
        );
    }
    fail_if_any(new, resource, errors)
}

/// Sets `metadata.generation` at creation.
pub fn first_generation(object: &mut Value) {
    tree::set(object, &["metadata", "generation"], 1);
}

/// Adds one to the generation if `changed`.
pub fn count_generation(new: &mut Value, old: &Value, changed: bool) {
    let generation = tree::int(old, &["metadata", "generation"]).unwrap_or(0);
    if changed {
        tree::set(new, &["metadata", "generation"], generation + 1);
    } else if generation > 0 {
        tree::set(new, &["metadata", "generation"], generation);
    }
}

/// Nothing but the times in `managedFields` and the resource version differ: the write is a no-op.
pub fn is_same(new: &Value, old: &Value) -> bool {
    let strip = |object: &Value| {
        let mut object = object.clone();
        tree::remove(&mut object, &["metadata", "resourceVersion"]);
        for entry in tree::list_mut(&mut object, &["metadata", "managedFields"]) {
            tree::remove(entry, &["time"]);
        }
        object
    };
    strip(new) == strip(old)
}

#[cfg(test)]
mod tests;
