//! Who is asking: client certificates, service-account tokens, bootstrap tokens, impersonation.
//!
//! A request that shows no credentials is anonymous, and that only on the paths of health and version; one that
//! shows wrong credentials is refused, never downgraded.

mod bootstrap_token;
mod impersonation;
mod request;
mod service_account;
mod token_keys;

pub(crate) use impersonation::impersonated;
pub(crate) use request::{authenticate, authenticate_token};
pub(crate) use token_keys::{Claims, ObjectRef, PrivateClaims, TokenKeys};
