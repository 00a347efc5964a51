//! DELETE of everything that a list would show.

use super::delete::{Deleted, delete_object, delete_options};
use super::list::list_entries;
use super::object::convert;
use super::write::Writer;
use crate::front::{Call, value_response};
use crate::http::Response;
use crate::state::State;
use apiserver_core::options::{ListOptions, WriteOptions};
use apiserver_core::{ApiError, Resource};
use serde_json::json;

pub(crate) async fn delete_collection(
    state: &State,
    resource: &Resource,
    call: &mut Call,
) -> Result<Response, ApiError> {
    let selected = ListOptions::from_query(call.query())?;
    let options = delete_options(call)?;
    let mut writer = Writer::of(
        call,
        &WriteOptions {
            dry_run: options.dry_run,
            ..WriteOptions::default()
        },
    );
    let listed = list_entries(state, resource, &call.info.namespace, &call.info.name, &selected).await?;
    let mut items = Vec::with_capacity(listed.entries.len());
    for entry in &listed.entries {
        match delete_object(
            state,
            resource,
            &mut writer,
            &entry.namespace,
            &entry.name,
            &options,
        )
        .await
        {
            Ok(Deleted::Removed(_) | Deleted::Waiting(_)) => items.push(convert(entry.value(), resource)),
            // Gone already: as wanted.
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    call.warnings.append(&mut writer.warnings);
    let mut metadata = json!({"resourceVersion": listed.revision.to_string()});
    if let Some(token) = listed.continue_token {
        metadata["continue"] = json!(token);
    }
    let list = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": metadata,
        "items": items});
    Ok(value_response(200, &list, call.accepted))
}
