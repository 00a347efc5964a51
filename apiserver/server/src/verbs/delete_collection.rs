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
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

/// Deletions under way at once: the store commits them together.
const CONCURRENT: usize = 16;

pub(crate) async fn delete_collection(
    state: &State,
    resource: &Resource,
    call: &mut Call,
) -> Result<Response, ApiError> {
    let selected = ListOptions::from_query(call.query())?;
    let options = delete_options(call)?;
    let write_options = WriteOptions {
        dry_run: options.dry_run,
        ..WriteOptions::default()
    };
    let listed = list_entries(state, resource, &call.info.namespace, &call.info.name, &selected).await?;
    let writer = Writer::of(call, &write_options);
    let (writer, options) = (&writer, &options);
    let deletions = futures::stream::iter(listed.entries).map(|entry| async move {
        let mut own = writer.clone_without_warnings();
        let deleted = delete_object(state, resource, &mut own, &entry.namespace, &entry.name, options).await;
        match deleted {
            Ok(Deleted::Removed(_) | Deleted::Waiting(_)) => Ok(Some(convert(entry.value(), resource))),
            // Gone already: as wanted.
            Err(error) if error.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    });
    let items: Vec<Option<Value>> = deletions.buffered(CONCURRENT).try_collect().await?;
    let items: Vec<Value> = items.into_iter().flatten().collect();
    let mut metadata = json!({"resourceVersion": listed.revision.to_string()});
    if let Some(token) = listed.continue_token {
        metadata["continue"] = json!(token);
    }
    let list = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": metadata,
        "items": items});
    Ok(value_response(200, &list, call.accepted))
}
