//! Admission: the default plugins, as functions over the request, the object and what the cluster holds.
//!
//! Mutating plugins run first and in upstream's order, then the validating ones on the final object. Nothing is
//! written here and nothing waits: other objects come from [`Objects`], which the server answers from its caches
//! (and must answer from the store for namespaces, service accounts and classes that a client made just before).
//! Follows `pkg/kubeapiserver/options/plugins.go` and `plugin/pkg/admission` of Kubernetes 1.36.

mod certificates;
mod defaults;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
mod priority;
mod quota;
mod runtime_class;
mod service_account;
mod storage;
mod tolerations;

pub use quota::{QuotaUsage, quota_usage};
pub use tolerations::DefaultTolerations;

use crate::authorization::{Attributes, Subject};
use crate::resource::Resource;
use crate::status::ApiError;
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// A write on its way to the store. `old` is the stored object of an update or delete.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub operation: Operation,
    pub resource: &'a Resource,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub user: Subject<'a>,
    pub old: Option<&'a Value>,
}

impl Request<'_> {
    fn is(&self, group: &str, resource: &str) -> bool {
        self.subresource.is_empty() && self.concerns(group, resource)
    }

    fn concerns(&self, group: &str, resource: &str) -> bool {
        self.resource.gvr.group == group && self.resource.gvr.resource == resource
    }

    fn creates(&self, group: &str, resource: &str) -> bool {
        self.operation == Operation::Create && self.is(group, resource)
    }

    fn forbidden(&self, why: impl std::fmt::Display) -> ApiError {
        ApiError::forbidden(&self.resource.group_resource(), self.name, why)
    }
}

/// What the plugins look up. Absent means "not in the cluster".
pub trait Objects {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>>;
    /// All objects of a resource, of one namespace or (empty) of all, in name order.
    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Value>>;
    fn authorized(&self, attributes: &Attributes<'_>) -> bool;
}

/// What plugins may use and leave behind besides the object.
pub struct Context<'a> {
    pub objects: &'a dyn Objects,
    /// Draws the five characters of a generated name.
    pub suffix: &'a mut dyn FnMut() -> String,
    pub tolerations: DefaultTolerations,
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

type Mutation = fn(&Request<'_>, &mut Value, &mut Context<'_>) -> Result<(), ApiError>;
type Validation = fn(&Request<'_>, Option<&Value>, &mut Context<'_>) -> Result<(), ApiError>;

const MUTATIONS: &[Mutation] = &[
    limit_ranger::mutate,
    service_account::mutate,
    tolerations::taint_new_node,
    priority::mutate,
    tolerations::mutate,
    storage::default_class,
    storage::protect_in_use,
    runtime_class::mutate,
    defaults::ingress_class,
];

const VALIDATIONS: &[Validation] = &[
    limit_ranger::validate,
    service_account::validate,
    node_restriction::validate,
    pod_security::validate,
    priority::validate,
    storage::validate_resize,
    certificates::validate_approval,
    certificates::validate_signing,
];

/// Runs the mutating plugins on an object that is to be created or updated.
///
/// # Errors
/// The first plugin's refusal.
pub fn mutate(request: &Request<'_>, object: &mut Value, context: &mut Context<'_>) -> Result<(), ApiError> {
    namespace_lifecycle::check(request, context.objects)?;
    MUTATIONS
        .iter()
        .try_for_each(|plugin| plugin(request, object, context))
}

/// Runs the validating plugins; `object` is absent for a delete.
///
/// # Errors
/// The first plugin's refusal.
pub fn validate(
    request: &Request<'_>,
    object: Option<&Value>,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    if matches!(request.operation, Operation::Delete) {
        namespace_lifecycle::check(request, context.objects)?;
    }
    VALIDATIONS
        .iter()
        .try_for_each(|plugin| plugin(request, object, context))
}

#[cfg(test)]
mod tests;
