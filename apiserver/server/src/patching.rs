//! The four kinds of patch, over the object that is there.

use crate::front::schema_of;
use crate::verbs::Writer;
use apiserver_core::field_validation::Target;
use apiserver_core::options::WriteOptions;
use apiserver_core::patch::{PatchType, patch};
use apiserver_core::{ApiError, GroupVersionKind, Resource};
use bytes::Bytes;
use serde_json::Value;

/// The patch type of a request.
///
/// # Errors
/// 415 for a type that isn't a patch of this resource.
pub(crate) fn patch_type(content_type: &str, resource: &Resource) -> Result<PatchType, ApiError> {
    match PatchType::of_content_type(content_type) {
        Some(PatchType::Strategic) | None if resource.custom => {
            let [json, merge, _, apply] = PatchType::ACCEPTED;
            Err(ApiError::unsupported_media_type(&[json, merge, apply]))
        }
        None => Err(ApiError::unsupported_media_type(&PatchType::ACCEPTED)),
        Some(kind) => Ok(kind),
    }
}

/// A patch, ready to be applied to whatever state the object is in.
pub(crate) struct Patcher {
    kind: PatchType,
    body: Bytes,
    target: GroupVersionKind,
    options: WriteOptions,
}

impl Patcher {
    /// `target`: the kind that the patch is about, which for some subresources isn't the object's.
    pub(crate) fn new(
        kind: PatchType,
        target: GroupVersionKind,
        body: &Bytes,
        options: &WriteOptions,
    ) -> Self {
        Self {
            kind,
            body: body.clone(),
            target,
            options: options.clone(),
        }
    }

    fn target(&self) -> Target<'_> {
        Target {
            kind: &self.target,
            schema: schema_of(&self.target),
            validation: self.options.field_validation,
        }
    }

    /// The patched object; `warnings` gets texts for the client.
    pub(crate) fn change(
        &self,
        current: Option<&Value>,
        resource: &Resource,
        writer: &Writer,
        warnings: &mut Vec<String>,
    ) -> Result<Value, ApiError> {
        let decoded = match (self.kind, current) {
            (PatchType::Apply, current) => {
                return crate::ownership::apply(
                    &self.body,
                    self.target(),
                    current,
                    resource,
                    writer,
                    self.options.force,
                    warnings,
                );
            }
            (kind, Some(current)) => patch(kind, &self.body, current, self.target())?,
            (_, None) => return Err(ApiError::internal("a patch needs an object")),
        };
        warnings.extend(decoded.warnings);
        Ok(decoded.value)
    }
}
