//! Cluster DNS as a function: the records of Services and their endpoints, and the answer to a query.
//!
//! Follows the "Kubernetes DNS-Based Service Discovery" specification 1.1.0 and, where that leaves a choice, CoreDNS's
//! `plugin/kubernetes`: TTL 5 s, dashed addresses as names of endpoints without one, and answers for
//! `a-b-c-d.namespace.pod` whether or not such a pod exists.
//!
//! Invariants:
//! - A name that exists with another type is answered with no records, never with "no such name": resolvers ask for
//!   IPv6 addresses first and would give up.
//! - What isn't the cluster's is never answered here.

mod lookup;
mod message;
mod zone;

pub use message::{DnsOutcome, MAX_UDP_MESSAGE, finish_chase, respond, server_failure};
pub use zone::DnsZone;
