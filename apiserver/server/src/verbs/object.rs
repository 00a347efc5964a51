//! Objects as trees: out of the store, and between the versions of a resource.

use crate::cache::stored_bytes;
use crate::state::{State, store_error};
use crate::store::Stored;
use apiserver_core::{ApiError, Resource};
use serde_json::Value;

/// The tree of a stored object, with its resourceVersion.
pub(crate) fn parse(stored: &Stored) -> Result<Value, ApiError> {
    let mut value: Value = serde_json::from_slice(&stored.value)
        .map_err(|error| ApiError::internal(format!("{}: {error}", String::from_utf8_lossy(&stored.key))))?;
    set_resource_version(&mut value, stored.mod_revision);
    Ok(value)
}

pub(crate) fn set_resource_version(value: &mut Value, revision: i64) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
    }
}

/// The object in the version of `resource`, which shows the stored one.
pub(crate) fn convert(mut value: Value, resource: &Resource) -> Value {
    if resource.needs_conversion() {
        apiserver_core::conversion::convert(&mut value, &resource.gvk());
    }
    value
}

/// The bytes to store of an object in the version of `resource`.
pub(crate) fn to_storage(value: &Value, resource: &Resource) -> Vec<u8> {
    if resource.needs_conversion() {
        let mut stored = value.clone();
        apiserver_core::conversion::convert(&mut stored, &resource.storage_kind);
        stored_bytes(&stored)
    } else {
        stored_bytes(value)
    }
}

/// The object as the store has it now, in the version of `resource`.
///
/// # Errors
/// 404 when it isn't there.
pub(crate) async fn fetch(
    state: &State,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Value, ApiError> {
    fetch_for_update(state, resource, namespace, name)
        .await?
        .map(|(value, ..)| value)
        .ok_or_else(|| ApiError::not_found(&resource.group_resource(), name))
}

/// As [`fetch`], with the revision that guards the next write and the lease; `None` when it isn't there.
pub(crate) async fn fetch_for_update(
    state: &State,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Option<(Value, i64, i64)>, ApiError> {
    let (stored, _) = state
        .store
        .get(&resource.key(namespace, name))
        .await
        .map_err(|error| store_error(&error))?;
    let Some(stored) = stored else { return Ok(None) };
    let value = convert(parse(&stored)?, resource);
    Ok(Some((value, stored.mod_revision, stored.lease)))
}
