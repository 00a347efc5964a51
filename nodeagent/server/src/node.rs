//! The node object: certificates, registration, status, lease, routes to the other nodes.

mod certificates;
mod lease;
mod registration;
mod routes;
mod status;

pub(crate) use certificates::{Certificates, Purpose, client_identity};
pub(crate) use lease::renew_lease;
pub(crate) use registration::register;
pub(crate) use routes::follow_nodes;
pub(crate) use status::report_status;
