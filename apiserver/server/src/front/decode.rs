//! Request bodies as object trees: JSON, YAML or Kubernetes protobuf.

use apiserver_core::field_validation::{BodyFormat, Decoded, Target, decode};
use apiserver_core::options::FieldValidation;
use apiserver_core::{ApiError, GroupVersionKind};
use kubeschema::Schema;

const BODY_TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// The schema of a built-in kind.
pub(crate) fn schema_of(kind: &GroupVersionKind) -> Option<Schema<'static>> {
    kubeschema::schema_for(&kind.group, &kind.version, &kind.kind)
}

/// Decodes a body of `content_type`; an absent type is JSON. An absent kind or version is `expected`'s.
///
/// # Errors
/// 415 for another type, 400 for what can't be read or is of another kind, or has unknown fields under `Strict`.
pub(crate) fn decode_body(
    content_type: &str,
    body: &[u8],
    expected: &GroupVersionKind,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let format = BodyFormat::of_content_type(content_type)
        .ok_or_else(|| ApiError::unsupported_media_type(&BODY_TYPES))?;
    decode(
        body,
        format,
        Target {
            kind: expected,
            schema: schema_of(expected),
            validation,
        },
    )
}
