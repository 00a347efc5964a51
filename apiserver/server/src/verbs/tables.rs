//! Tables, as `kubectl get` shows them.

use crate::front::Call;
use apiserver_core::table::{IncludeObject, TableOptions, list_table, printer_for};
use apiserver_core::{ApiError, Resource};
use serde_json::{Value, json};

/// How this request wants its tables.
///
/// # Errors
/// 400 for an unknown `includeObject`.
pub(crate) fn table_options(call: &Call, version: &'static str) -> Result<TableOptions, ApiError> {
    let include =
        apiserver_core::request_info::query_value(call.query(), "includeObject").unwrap_or_default();
    let include = IncludeObject::parse(&include)
        .ok_or_else(|| ApiError::bad_request(format!("unrecognized includeObject value: {include:?}")))?;
    Ok(TableOptions {
        include,
        headers: true,
        version,
        now: call.now,
    })
}

/// A `Table` of objects under the list's `metadata`.
pub(crate) fn table(resource: &Resource, objects: &[Value], metadata: Value, options: TableOptions) -> Value {
    let printer = printer_for(&resource.gvr.group, &resource.gvr.resource);
    list_table(printer, objects, metadata, options)
}

/// The table of one object.
pub(crate) fn table_of_one(resource: &Resource, object: &Value, options: TableOptions) -> Value {
    let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
    table(resource, std::slice::from_ref(object), metadata, options)
}
