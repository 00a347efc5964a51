//! Field ownership (`managedFields`) of plain writes, and server-side apply.

use crate::front::schema_of;
use crate::verbs::Writer;
use apiserver_core::apply::{self, decode_configuration, reset_fields, track_update};
use apiserver_core::field_validation::Target;
use apiserver_core::{ApiError, Resource};
use serde_json::Value;

/// Gives the writer what it changed.
pub(crate) fn update(new: &mut Value, old: Option<&Value>, resource: &Resource, writer: &Writer) {
    with_writer(resource, writer, |who| {
        track_update(schema_of(&resource.gvk()), old, new, who)
    });
}

/// Merges an apply configuration into what is there.
///
/// # Errors
/// 400 for a bad configuration, 409 for fields of other managers.
pub(crate) fn apply(
    body: &[u8],
    target: Target<'_>,
    current: Option<&Value>,
    resource: &Resource,
    writer: &Writer,
    force: bool,
    warnings: &mut Vec<String>,
) -> Result<Value, ApiError> {
    let schema = target.schema;
    let decoded = decode_configuration(body, target)?;
    warnings.extend(decoded.warnings);
    with_writer(resource, writer, |who| {
        apply::apply(schema, current, &decoded.value, who, force)
    })
}

fn with_writer<T>(resource: &Resource, writer: &Writer, work: impl FnOnce(&apply::Writer<'_>) -> T) -> T {
    let has_status = resource.subresource("status").is_some();
    work(&apply::Writer {
        manager: &writer.manager,
        api_version: &resource.api_version(),
        subresource: &writer.subresource,
        now: &writer.now_text(),
        reset: reset_fields(has_status, &writer.subresource),
    })
}
