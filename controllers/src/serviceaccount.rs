//! ServiceAccount: every namespace has the account `default`.
//! Source: `pkg/controller/serviceaccount/serviceaccounts_controller.go` (1.36).

use crate::action::{Action, Plan};
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const NAME: &str = "default";

pub fn plan(namespace: &Namespace, account: Option<&ServiceAccount>) -> Plan {
    if account.is_some() || !is_active(namespace) {
        return Plan::nothing();
    }
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some(NAME.into()),
            namespace: namespace.metadata.name.clone(),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    vec![Action::create(&account)].into()
}

/// Whether things may still be created in it.
pub fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    !namespace.metadata.is_terminating() && phase != Some("Terminating")
}

pub struct ServiceAccountController {
    namespaces: Cache<Namespace>,
    accounts: Cache<ServiceAccount>,
}

impl ServiceAccountController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            namespaces: informers.of(),
            accounts: informers.of(),
        }
    }
}

impl Controller for ServiceAccountController {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.namespaces);
        watches.on(&self.accounts, |change| {
            let gone = change.old.as_ref().filter(|_| change.new.is_none());
            gone.filter(|account| account.metadata.name() == NAME)
                .map(|account| Key::cluster(account.metadata.namespace()))
                .into_iter()
                .collect()
        });
    }

    fn plan(&self, key: &Key, _context: &Context) -> Plan {
        let Some(namespace) = self.namespaces.get(key) else {
            return Plan::nothing();
        };
        plan(
            &namespace,
            self.accounts.get(&Key::new(&key.name, NAME)).as_deref(),
        )
    }
}
