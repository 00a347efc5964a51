//! Users who share one ConfigMap by server-side apply, each with a field of its own.

use super::User;
use anyhow::Context as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::time::timeout;

/// The name of the ConfigMap.
pub(crate) const APPLIED: &str = "applied";

/// Applies until the world is quiet: always the same field, always another value.
pub async fn apply(user: User) {
    let api: Api<ConfigMap> = Api::default_namespaced(user.client.clone());
    let mut number = 0_u64;
    while user.board.working() {
        number += 1;
        let wanted = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": APPLIED},
            "data": {&user.name: number.to_string()},
        });
        let patch = Patch::Apply(wanted);
        let manager = PatchParams::apply(&user.name);
        let asked = api.patch(APPLIED, &manager, &patch);
        let applied = timeout(super::CALL, async { anyhow::Ok(asked.await?) })
            .await
            .context("no answer")
            .flatten();
        if let Err(error) = applied {
            tracing::debug!(user = user.name, ?error, "did not apply");
        }
        user.think(100, 900).await;
    }
}
