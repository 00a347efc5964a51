//! The kube crate's client and watcher, as our own components use them.

use crate::cluster::{Cluster, DEADLINE};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use kubeclient::{ClientConfig, Credentials, Informer};
use serde_json::json;
use support::Env;

fn client(cluster: &Cluster) -> kube::Client {
    let config = ClientConfig {
        servers: vec![cluster.servers[0].address.to_string()],
        ca_pem: Some(cluster.authority.cert_pem().to_owned()),
        credentials: Credentials::Certificate(cluster.admin()),
        user_agent: "trireme-test".to_owned(),
    };
    kubeclient::client(&Env::production(), &config).expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kube_crate_writes_lists_applies_and_informs() {
    let cluster = Cluster::start().await;
    let api: Api<ConfigMap> = Api::namespaced(client(&cluster), "default");
    let informer = Informer::all(api.clone(), &Env::production());
    tokio::time::timeout(DEADLINE, informer.synced())
        .await
        .expect("synced");
    let mut changes = informer.subscribe();
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "data": {"k": "v"}}))
            .expect("typed");
    let created = api.create(&PostParams::default(), &map).await.expect("created");
    assert!(created.uid().is_some());
    let change = tokio::time::timeout(DEADLINE, changes.recv())
        .await
        .expect("the informer saw it");
    assert!(change.new.is_some_and(|map| map.name_any() == "a"));
    let applied =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "w"}});
    let conflict = api
        .patch("a", &PatchParams::apply("other"), &Patch::Apply(&applied))
        .await;
    assert!(matches!(conflict, Err(kube::Error::Api(status)) if status.code == 409));
    let forced = api
        .patch("a", &PatchParams::apply("other").force(), &Patch::Apply(&applied))
        .await
        .expect("forced");
    assert_eq!(
        forced
            .data
            .as_ref()
            .and_then(|data| data.get("k"))
            .map(String::as_str),
        Some("w")
    );
    let listed = api
        .list(&ListParams::default().labels("x=1"))
        .await
        .expect("listed");
    assert_eq!(listed.items.len(), 1);
    api.delete("a", &DeleteParams::default()).await.expect("deleted");
    assert!(api.get_opt("a").await.expect("answered").is_none());
}
