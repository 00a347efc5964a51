//! DELETE of one object.

use super::object::{fetch_for_update, set_resource_version, to_storage};
use super::write::Writer;
use crate::admission::{self, Operation};
use crate::front::{Call, decode_body, object_response};
use crate::http::Response;
use crate::state::{State, store_error};
use crate::store::Put;
use apiserver_core::deletion::{self, DeletionOutcome};
use apiserver_core::options::{DeleteOptions, FieldValidation, WriteOptions};
use apiserver_core::{ApiError, GroupVersionKind, Resource, status, tree};
use serde_json::Value;

/// Attempts against concurrent writers, for deletions without a resourceVersion precondition.
const ATTEMPTS: usize = 10;

/// What a deletion did.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// Gone; its last state.
    Removed(Value),
    /// Marked; it goes away later.
    Waiting(Value),
}

pub(crate) async fn delete(
    state: &State,
    resource: &Resource,
    call: &mut Call,
) -> Result<Response, ApiError> {
    let options = delete_options(call)?;
    let mut writer = Writer::of(
        call,
        &WriteOptions {
            dry_run: options.dry_run,
            ..WriteOptions::default()
        },
    );
    let (namespace, name) = (call.info.namespace.clone(), call.info.name.clone());
    let deleted = delete_object(state, resource, &mut writer, &namespace, &name, &options).await?;
    call.warnings.append(&mut writer.warnings);
    match deleted {
        // Pods and some others answer with their last state (upstream: ReturnDeletedObject).
        Deleted::Removed(object) if returns_object(resource) => object_response(call, resource, 200, &object),
        Deleted::Removed(object) => {
            let status = status::deleted(&resource.group_resource(), &name, tree::uid(&object));
            object_response(call, resource, 200, &status)
        }
        Deleted::Waiting(object) => object_response(call, resource, 200, &object),
    }
}

fn returns_object(resource: &Resource) -> bool {
    resource.gvr.group.is_empty()
        && matches!(
            resource.gvr.resource.as_str(),
            "pods"
                | "services"
                | "serviceaccounts"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "podtemplates"
                | "resourcequotas"
        )
        || resource.gvr.resource == "podsecuritypolicies"
        || (resource.gvr.group == "storage.k8s.io"
            && matches!(
                resource.gvr.resource.as_str(),
                "storageclasses" | "csinodes" | "csidrivers" | "volumeattachments"
            ))
}

/// From the body if there is one, else from the query.
pub(super) fn delete_options(call: &Call) -> Result<DeleteOptions, ApiError> {
    if call.body.is_empty() {
        return DeleteOptions::read(call.query(), None);
    }
    let expected = options_kind(call);
    let decoded = decode_body(
        &call.content_type(),
        &call.body,
        &expected,
        FieldValidation::Ignore,
    )?;
    DeleteOptions::read(call.query(), Some(&decoded.value))
}

/// Clients send the options in `v1` or in the version of the resource.
fn options_kind(call: &Call) -> GroupVersionKind {
    let api_version = if call.content_type() == "application/vnd.kubernetes.protobuf" {
        kubeschema::protobuf::open(&call.body)
            .map(|envelope| envelope.api_version)
            .ok()
    } else {
        let value = serde_json::from_slice::<Value>(&call.body).ok();
        value.and_then(|value| Some(value.get("apiVersion")?.as_str()?.to_owned()))
    };
    match api_version.as_deref() {
        None | Some("") => GroupVersionKind::new("meta.k8s.io", "v1", "DeleteOptions"),
        Some(version) => GroupVersionKind::from_api_version(version, "DeleteOptions"),
    }
}

pub(crate) async fn delete_object(
    state: &State,
    resource: &Resource,
    writer: &mut Writer,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    let key = resource.key(namespace, name);
    for _ in 0..ATTEMPTS {
        let (old, revision, lease) = fetch_for_update(state, resource, namespace, name)
            .await?
            .ok_or_else(|| ApiError::not_found(&resource.group_resource(), name))?;
        admission::validate(state, resource, writer, Operation::Delete, None, Some(&old)).await?;
        match deletion::delete(&old, resource, options, writer.now)? {
            DeletionOutcome::AlreadyDeleting => return Ok(Deleted::Waiting(old)),
            DeletionOutcome::Remove(last) if writer.dry_run => return Ok(Deleted::Removed(last)),
            DeletionOutcome::Update(new) if writer.dry_run => return Ok(Deleted::Waiting(new)),
            DeletionOutcome::Remove(mut last) => {
                match state
                    .store
                    .delete(&key, revision)
                    .await
                    .map_err(|error| store_error(&error))?
                {
                    Put::Done { revision } => {
                        set_resource_version(&mut last, revision);
                        crate::services::give_back(state, resource, None, &old).await;
                        return Ok(Deleted::Removed(last));
                    }
                    Put::Conflict(_) => {}
                }
            }
            DeletionOutcome::Update(mut new) => {
                let bytes = to_storage(&new, resource);
                let put = state.store.put(&key, &bytes, revision, lease).await;
                if let Put::Done { revision } = put.map_err(|error| store_error(&error))? {
                    set_resource_version(&mut new, revision);
                    return Ok(Deleted::Waiting(new));
                }
            }
        }
    }
    Err(ApiError::modified(&resource.group_resource(), name))
}
