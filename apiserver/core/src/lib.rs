//! The pure core of the Kubernetes API: plain functions over object trees.
//!
//! Objects are [`serde_json::Value`] trees whose maps are ordered, so that every answer is the same in every
//! run. Nothing here reads a clock, draws randomness or touches the network: the time, random numbers and other
//! objects come in as arguments.

pub mod admission;
pub mod apply;
pub mod authorization;
pub mod continue_token;
pub mod conversion;
pub mod defaults;
pub mod deletion;
pub mod discovery;
pub mod field_error;
pub mod field_selector;
pub mod field_validation;
pub mod label_selector;
pub mod metadata;
pub mod names;
pub mod openapi;
pub mod options;
pub mod patch;
pub mod registry;
pub mod request_info;
pub mod resource;
pub mod resource_version;
pub mod service_ip;
pub mod status;
pub mod strategy;
pub mod table;
pub mod tree;
pub mod validation;

pub use field_error::{ErrorList, FieldError, FieldErrorKind, FieldPath};
pub use kubeschema::GroupVersionKind;
pub use registry::Registry;
pub use request_info::RequestInfo;
pub use resource::{GroupResource, GroupVersionResource, Resource};
pub use status::{ApiError, Reason};
