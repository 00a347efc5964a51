//! What is special about a resource: hooks of the one write pipeline.
//!
//! The pipeline calls, in order — create: `default`, `prepare_for_create`, admission, `validate`;
//! update: `default`, `prepare_for_update`, admission, `validate_update`; status and other subresources alike
//! with their own hooks. Follows the strategies in `pkg/registry/*/*/strategy.go` (1.36).

mod built_in;
mod hooks;
mod service;

use serde_json::Value;

use crate::field_error::ErrorList;

pub use built_in::built_in;
pub(crate) use hooks::qos_class;

/// How the objects of a resource go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteStyle {
    /// At once, unless finalizers hold it.
    Immediate,
    /// After a grace period, by the node agent.
    Pod,
    /// By the namespace controller: `spec.finalizers` hold it too.
    Namespace,
}

/// What becomes of dependents when a delete request does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultPropagation {
    Background,
    Orphan,
}

/// The hooks. The defaults suit a resource without special behaviour.
pub trait Strategy: Send + Sync {
    /// Fills in what the user left out. Also run on objects read from the store.
    fn default(&self, _object: &mut Value) {}

    /// Clears what a user may not set at creation, sets the first generation.
    fn prepare_for_create(&self, _object: &mut Value) {}

    /// Takes fields from `old` that an update of the main resource may not change; counts the generation.
    fn prepare_for_update(&self, _new: &mut Value, _old: &Value) {}

    /// Takes everything from `old` that an update of `subresource` (`status`, `approval`, …) may not change.
    fn prepare_for_subresource_update(&self, _subresource: &str, _new: &mut Value, _old: &Value) {}

    fn validate(&self, _object: &Value) -> ErrorList {
        ErrorList::new()
    }

    fn validate_update(&self, _new: &Value, _old: &Value) -> ErrorList {
        ErrorList::new()
    }

    fn validate_subresource_update(&self, _subresource: &str, _new: &Value, _old: &Value) -> ErrorList {
        ErrorList::new()
    }

    /// Texts of `Warning` headers for a created or updated object.
    fn warnings(&self, _new: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Why `name` is no name for such an object; empty when it is one. `prefix`: it is a `generateName`.
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        crate::names::dns1123_subdomain(name, prefix)
    }

    /// A PUT of a missing object creates it.
    fn allow_create_on_update(&self) -> bool {
        false
    }

    /// A PUT without `resourceVersion` overwrites.
    fn allow_unconditional_update(&self) -> bool {
        true
    }

    fn delete_style(&self) -> DeleteStyle {
        DeleteStyle::Immediate
    }

    fn default_propagation(&self) -> DefaultPropagation {
        DefaultPropagation::Background
    }
}

/// No special behaviour at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Strategy for Plain {}
