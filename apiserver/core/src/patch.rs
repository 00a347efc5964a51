//! Patches: JSON patch, JSON merge patch and strategic merge patch.
//!
//! [`patch`] takes the stored object and gives the patched one in normal form (see [`crate::field_validation`]);
//! defaulting, admission and validation come after it. Apply patches are in [`crate::apply`].
//!
//! Follows `apiserver/pkg/endpoints/handlers/patch.go` (1.36) for limits, codes and texts.

mod json_patch;
mod merge_patch;
mod strategic;
mod strategic_order;

use kubeschema::{Schema, Shape};
use serde_json::Value;

use crate::field_error::{FieldError, FieldPath};
use crate::field_validation::{Decoded, Target, judge, normalize, parse_json};
use crate::status::{ApiError, Reason};

/// The kind of a patch, from its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    /// `None`: answer 415 with [`PatchType::ACCEPTED`].
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }

    /// Content types of patches of built-in resources; custom ones have no strategic form.
    pub const ACCEPTED: [&'static str; 4] = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ];
}

/// Patches `current`.
///
/// # Errors
/// 400 for a patch that does not parse or is malformed, 413 for too many operations, 415 for a strategic patch
/// without a schema and for an apply patch, 422 for a patch that does not apply or gives no valid object.
pub fn patch(
    kind: PatchType,
    patch: &[u8],
    current: &Value,
    target: Target<'_>,
) -> Result<Decoded, ApiError> {
    let mut problems = Vec::new();
    let mut patched = match kind {
        PatchType::Json => json_patch::apply(patch, current)?,
        PatchType::Merge => {
            let parsed = parse_json(patch, None).map_err(|e| ApiError::bad_request(e.to_string()))?;
            problems = parsed.problems;
            let mut patched = current.clone();
            merge_patch::apply(&mut patched, parsed.value)?;
            patched
        }
        PatchType::Strategic => {
            let Some(schema) = target.schema else {
                return Err(ApiError::unsupported_media_type(&PatchType::ACCEPTED[..2]));
            };
            let parsed = parse_json(patch, None).map_err(|e| ApiError::bad_request(e.to_string()))?;
            problems = parsed.problems;
            strategic::apply(current, parsed.value, schema)?
        }
        PatchType::Apply => return Err(ApiError::unsupported_media_type(&PatchType::ACCEPTED[..3])),
    };
    if !patched.is_object() {
        return Err(not_valid(&patched, "json: cannot unmarshal into an object"));
    }
    if let Some(schema) = target.schema {
        unknown_fields(&patched, schema, &mut String::new(), &mut problems);
    }
    let shown = patched.clone();
    if let Some(schema) = target.schema {
        normalize(&mut patched, schema).map_err(|e| not_valid(&shown, &e.to_string()))?;
    }
    let warnings = judge(&problems, target.validation).map_err(|why| not_valid(&shown, &why))?;
    Ok(Decoded {
        value: patched,
        warnings,
    })
}

/// A patch whose outcome is not an object of the kind.
fn not_valid(patched: &Value, why: &str) -> ApiError {
    let error = FieldError::invalid(&FieldPath::new("patch"), patched.to_string(), why);
    ApiError::invalid("", "", "", &[error])
}

/// A patch that does not apply to the object.
fn unprocessable() -> ApiError {
    ApiError::new(
        422,
        Reason::Invalid,
        "the server rejected our request due to an error in our request",
    )
}

fn unknown_fields(value: &Value, schema: Schema<'_>, path: &mut String, problems: &mut Vec<String>) {
    let length = path.len();
    match (schema.shape(), value) {
        (Shape::Object(object), Value::Object(map)) => {
            for (key, value) in map {
                let dot = if length == 0 { "" } else { "." };
                match object.field(key) {
                    Some((_, schema)) => {
                        path.push_str(dot);
                        path.push_str(key);
                        unknown_fields(value, schema, path, problems);
                        path.truncate(length);
                    }
                    None if object.def.preserve_unknown => {}
                    None => problems.push(format!("unknown field \"{path}{dot}{key}\"")),
                }
            }
        }
        (Shape::Map { value: inner, .. }, Value::Object(map)) => {
            for (key, value) in map {
                path.push('.');
                path.push_str(key);
                unknown_fields(value, inner, path, problems);
                path.truncate(length);
            }
        }
        (Shape::List { item, .. }, Value::Array(list)) => {
            for (i, value) in list.iter().enumerate() {
                path.push_str(&format!("[{i}]"));
                unknown_fields(value, item, path, problems);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
