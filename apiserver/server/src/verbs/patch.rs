//! PATCH in its four forms.

use super::write::{Next, Ownership, Writer, change_object};
use crate::front::{Call, object_response};
use crate::http::Response;
use crate::patching::{Patcher, patch_type};
use crate::state::State;
use apiserver_core::options::{WriteKind, WriteOptions};
use apiserver_core::patch::PatchType;
use apiserver_core::{ApiError, Resource};
use serde_json::Value;

pub(crate) async fn patch(state: &State, resource: &Resource, call: &mut Call) -> Result<Response, ApiError> {
    let kind = patch_type(&call.content_type(), resource)?;
    let write_kind = if kind == PatchType::Apply {
        WriteKind::Apply
    } else {
        WriteKind::Patch
    };
    let options = WriteOptions::from_query(call.query(), write_kind)?;
    let mut writer = Writer::of(call, &options);
    let view = writer.clone_without_warnings();
    let (namespace, name) = (call.info.namespace.clone(), call.info.name.clone());
    let patcher = Patcher::new(kind, resource.gvk(), &call.body, &options);
    let mut warnings = Vec::new();
    let group_resource = resource.group_resource();
    let main = call.info.subresource.is_empty();
    let mut change = |current: Option<&Value>| {
        // Only the warnings of the attempt that counts.
        warnings.clear();
        if current.is_none() && !(kind == PatchType::Apply && main) {
            return Err(ApiError::not_found(&group_resource, &name));
        }
        let mut object = patcher.change(current, resource, &view, &mut warnings)?;
        if current.is_none() {
            set_name(&mut object, &name)?;
        }
        let ownership = if kind == PatchType::Apply {
            Ownership::Done
        } else {
            Ownership::Update
        };
        Ok(Next { object, ownership })
    };
    let changed = change_object(state, resource, &mut writer, &namespace, &name, &mut change).await?;
    for warning in warnings.into_iter().chain(writer.warnings) {
        call.warn(warning);
    }
    object_response(call, resource, changed.code(), changed.object())
}

/// An applied object is named by its URL.
fn set_name(object: &mut Value, name: &str) -> Result<(), ApiError> {
    match apiserver_core::tree::name(object) {
        "" => apiserver_core::tree::set(object, &["metadata", "name"], name),
        given if given != name => {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        _ => {}
    }
    Ok(())
}
