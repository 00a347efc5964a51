//! Field ownership (`managedFields`) of plain writes, and server-side apply.

use crate::verbs::Writer;
use apiserver_core::field_validation::Target;
use apiserver_core::{ApiError, Resource};
use serde_json::Value;

/// Gives the writer what it changed.
pub(crate) fn update(_new: &mut Value, _old: Option<&Value>, _resource: &Resource, _writer: &Writer) {}

/// Merges an apply configuration.
pub(crate) fn apply(
    _body: &[u8],
    _target: Target<'_>,
    _current: Option<&Value>,
    _resource: &Resource,
    _writer: &Writer,
    _force: bool,
    _warnings: &mut Vec<String>,
) -> Result<Value, ApiError> {
    Err(ApiError::unsupported_media_type(&apiserver_core::patch::PatchType::ACCEPTED[..3]))
}
