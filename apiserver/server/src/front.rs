//! From an HTTP request to the code that answers it.
//!
//! One order for all: time and panic guard, authentication, impersonation, in-flight limits, authorization,
//! dispatch (upstream: server/config.go DefaultBuildHandlerChain, the same order with less in it).

mod call;
mod decode;
mod dispatch;
mod handler;
mod lanes;
mod render;

pub(crate) use call::Call;
pub(crate) use decode::{decode_body, schema_of};
pub(crate) use dispatch::not_allowed;
pub(crate) use handler::Front;
pub(crate) use render::{object_response, partial, value_response};
