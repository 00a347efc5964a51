//! PUT: the whole object, or the part that a subresource shows.

use super::write::{Changed, Next, Ownership, Writer, change_object};
use crate::front::{Call, object_response};
use crate::http::Response;
use crate::state::State;
use apiserver_core::options::{WriteKind, WriteOptions};
use apiserver_core::{ApiError, Resource, tree};
use serde_json::Value;

pub(crate) async fn update(
    state: &State,
    resource: &Resource,
    call: &mut Call,
) -> Result<Response, ApiError> {
    let options = WriteOptions::from_query(call.query(), WriteKind::Update)?;
    let object = call.decode_object(&resource.gvk(), options.field_validation)?;
    let mut writer = Writer::of(call, &options);
    let (namespace, name) = (call.info.namespace.clone(), call.info.name.clone());
    let changed = update_object(state, resource, &mut writer, &namespace, &name, object).await?;
    call.warnings.append(&mut writer.warnings);
    object_response(call, resource, changed.code(), changed.object())
}

/// Replaces an object; creates it where the resource allows that.
pub(crate) async fn update_object(
    state: &State,
    resource: &Resource,
    writer: &mut Writer,
    namespace: &str,
    name: &str,
    object: Value,
) -> Result<Changed, ApiError> {
    if tree::name(&object).is_empty() && tree::text(&object, &["metadata", "generateName"]).is_empty() {
        return Err(ApiError::bad_request("name must be provided"));
    }
    if tree::name(&object) != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            tree::name(&object)
        )));
    }
    let may_create = resource.strategy.allow_create_on_update() && writer.subresource.is_empty();
    let group_resource = resource.group_resource();
    let mut change = move |current: Option<&Value>| {
        if current.is_none() && !(may_create && tree::resource_version(&object).is_empty()) {
            return Err(ApiError::not_found(&group_resource, name));
        }
        let mut object = object.clone();
        if state.env.sabotage.is("stale-update-accepted")
            && let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("resourceVersion");
        }
        Ok(Next {
            object,
            ownership: Ownership::Update,
        })
    };
    change_object(state, resource, writer, namespace, name, &mut change).await
}
