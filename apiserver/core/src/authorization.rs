//! May this user do this? RBAC and the node authorizer, as functions over roles, bindings and pods given as data.
//!
//! The server keeps [`RbacIndex`] and [`NodeGraph`] current from its watch caches; nothing here waits or stores.
//! Authorizers are asked in order and the first that allows or denies decides; nobody's opinion is a refusal.
//! Follows `plugin/pkg/auth/authorizer/{rbac,node}` of Kubernetes 1.36.

mod attributes;
mod message;
mod node;
mod rbac;

pub use attributes::{Attributes, Decision, Subject};
pub use message::forbidden_reason;
pub use node::{NodeAuthorizer, NodeGraph, node_name_of};
pub use rbac::{EscalationCheck, RbacIndex, RoleRef, Rule, RuleSet, rules_of};
