//! Removes requests that have had their answer, or will not get one.
//! Source: `pkg/controller/certificates/cleaner/cleaner.go` (1.36).

use super::plan::is_issued;
use crate::action::{Action, Plan};
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use std::time::Duration;

const ANSWERED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

pub fn plan(request: &CertificateSigningRequest, now: Timestamp) -> Plan {
    let conditions = request
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let told = |kind: &str| {
        let condition = conditions.iter().find(|condition| condition.type_ == kind)?;
        condition.last_update_time.as_ref().map(|time| time.0)
    };
    let answered = told("Denied")
        .or_else(|| told("Failed"))
        .or_else(|| told("Approved").filter(|_| is_issued(request)));
    let (since, keep) = match answered {
        Some(at) => (at, ANSWERED),
        None => (request.metadata.created_at(), PENDING),
    };
    match Duration::try_from(keep - now.duration_since(since)) {
        Ok(left) if !left.is_zero() => Plan {
            actions: Vec::new(),
            again_after: Some(left),
        },
        // Only as it was seen: it may have had its answer since.
        _ => vec![Action::delete_seen(request)].into(),
    }
}

pub struct CsrCleanerController {
    requests: Cache<CertificateSigningRequest>,
}

impl CsrCleanerController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            requests: informers.of(),
        }
    }
}

impl Controller for CsrCleanerController {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-cleaner-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.requests);
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        self.requests
            .get(key)
            .map(|request| plan(&request, context.now))
            .unwrap_or_default()
    }
}
