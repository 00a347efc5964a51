//! The service proxy as data: from Services and EndpointSlices to the nftables ruleset that carries them.
//!
//! The number of chains is constant in the number of Services: a chain exists for each *count* of endpoints, and
//! Services and endpoints are only map elements. (Chains per endpoint load super-linearly.) A change of one
//! endpoint is a change of a few elements, sent as one transaction.
//!
//! Invariants:
//! - [`plan`] is a function of its input; equal input gives equal text.
//! - [`Ruleset::change_from`] applied to what the older ruleset's text built gives what the newer text would build.
//!
//! Behaviour follows `pkg/proxy` (nftables mode) of Kubernetes 1.36. Not carried: IPv6, health-check node ports,
//! topology hints.

mod frontends;
mod ruleset;
mod structure;

pub use frontends::{ProxyInput, plan};
pub use ruleset::{Ruleset, TABLE};
