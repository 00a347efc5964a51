//! Token cleaner: deletes bootstrap tokens that have expired.
//! Source: `pkg/controller/bootstrap/tokencleaner.go` (1.36).

use crate::action::{Action, Plan};
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use std::time::Duration;

const TYPE: &str = "bootstrap.kubernetes.io/token";

pub fn plan(secret: &Secret, now: Timestamp) -> Plan {
    let text = secret.data.as_ref().and_then(|data| data.get("expiration"));
    let Some(text) = text.filter(|_| secret.type_.as_deref() == Some(TYPE)) else {
        return Plan::nothing();
    };
    let expiry = std::str::from_utf8(&text.0)
        .ok()
        .and_then(|text| text.parse::<Timestamp>().ok());
    // A token whose expiry can't be read is refused by the API server; it counts as expired here, too.
    let left = expiry.and_then(|expiry| Duration::try_from(expiry.duration_since(now)).ok());
    match left.filter(|left| !left.is_zero()) {
        Some(left) => Plan {
            actions: Vec::new(),
            again_after: Some(left),
        },
        None => vec![Action::delete_seen(secret)].into(),
    }
}

pub struct TokenCleaner {
    secrets: Cache<Secret>,
}

impl TokenCleaner {
    pub fn new(informers: &Informers) -> Self {
        Self {
            secrets: informers.selected(&format!("type={TYPE}")),
        }
    }
}

impl Controller for TokenCleaner {
    fn name(&self) -> &'static str {
        "token-cleaner-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.on(&self.secrets, |change| {
            let secret = change
                .new
                .as_ref()
                .filter(|secret| secret.metadata.namespace() == "kube-system");
            secret
                .map(|secret| Key::of(&secret.metadata))
                .into_iter()
                .collect()
        });
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        self.secrets
            .get(key)
            .map(|secret| plan(&secret, context.now))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::plan;
    use crate::testing::{ago, now, object, story};
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn tokens_go_when_they_expire() {
        let token = |expiration: &str| {
            let data = ByteString(expiration.as_bytes().to_vec());
            object::<Secret>(json!({"metadata": {"name": "t", "namespace": "kube-system"},
                "type": "bootstrap.kubernetes.io/token", "data": {"expiration": data}}))
        };
        assert_eq!(
            plan(&token(&ago(-5)), now()).again_after,
            Some(Duration::from_secs(5))
        );
        assert_eq!(
            story(&plan(&token(&ago(0)), now())),
            ["delete Secret kube-system/t"]
        );
    }
}
