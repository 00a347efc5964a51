//! Certificate requests: who may have a certificate without asking a person, and signing.

mod cleaner;
mod plan;
mod request;
mod signing;
#[cfg(test)]
mod tests;

pub use cleaner::CsrCleanerController;
pub use signing::CsrSigningController;

use crate::action::Plan;
use crate::object::Key;
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;

pub struct CsrApprovingController {
    requests: Cache<CertificateSigningRequest>,
    nodes: Cache<Node>,
}

impl CsrApprovingController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            requests: informers.of(),
            nodes: informers.of(),
        }
    }
}

impl Controller for CsrApprovingController {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-approving-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.requests);
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        let Some(request) = self.requests.get(key) else {
            return Plan::nothing();
        };
        let requester = request.spec.username.as_deref().unwrap_or_default();
        let node = requester
            .strip_prefix("system:node:")
            .and_then(|name| self.nodes.get(&Key::cluster(name)));
        plan::approval(&request, node.as_deref(), context.now)
    }
}
