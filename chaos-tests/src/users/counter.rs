//! Users who count together in one ConfigMap, each by reading, adding one, and replacing what it read.

use super::User;
use anyhow::Context as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use serde_json::json;
use tokio::time::timeout;

/// The name of the ConfigMap, and of its field.
pub(crate) const COUNTER: &str = "counter";

/// Counts until the world is quiet. Nothing is tried twice: who isn't answered reads again.
pub async fn count(user: User) {
    let api: Api<ConfigMap> = Api::default_namespaced(user.client.clone());
    while user.board.working() {
        let step = timeout(super::CALL, add_one(&api, &user.name))
            .await
            .context("no answer")
            .flatten();
        if let Err(error) = step {
            tracing::debug!(user = user.name, ?error, "did not count");
        }
        user.think(100, 900).await;
    }
}

async fn add_one(api: &Api<ConfigMap>, who: &str) -> anyhow::Result<()> {
    let Some(mut map) = api.get_opt(COUNTER).await? else {
        let map = serde_json::from_value(json!({"metadata": {"name": COUNTER}, "data": {COUNTER: "0"}}))?;
        api.create(&PostParams::default(), &map).await?;
        return Ok(());
    };
    let data = map.data.get_or_insert_default();
    let count: i64 = data.get(COUNTER).context("the counter")?.parse()?;
    data.insert(COUNTER.to_owned(), (count + 1).to_string());
    // Two who write the same would hide that one of them was lost: the second write would change nothing.
    data.insert("by".to_owned(), who.to_owned());
    api.replace(COUNTER, &PostParams::default(), &map).await?;
    Ok(())
}
