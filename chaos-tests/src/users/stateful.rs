//! A user of one StatefulSet: scales it and rolls it out; each ordinal may run only once.

use super::{User, Wanted, unless};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

const KIND: &str = "StatefulSet";

/// Works until the world is quiet; then the last wish stands, and has been asked for.
pub async fn keep_ordinals(user: User) {
    let api: Api<StatefulSet> = Api::default_namespaced(user.client.clone());
    let mut version = 1;
    let mut wanted = Wanted {
        replicas: 2,
        image: "db:1".to_owned(),
    };
    user.wishes.set(KIND, &user.name, Some(wanted.clone()));
    let object: StatefulSet = serde_json::from_value(json!({
        "metadata": {"name": user.name},
        "spec": {
            "replicas": wanted.replicas,
            "serviceName": user.name,
            "selector": {"matchLabels": {"app": user.name}},
            "template": {
                "metadata": {"labels": {"app": user.name}},
                "spec": {"automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "db", "image": wanted.image,
                        "resources": {"requests": {"cpu": "200m", "memory": "64Mi"}}}]},
            },
        },
    }))
    .expect("a StatefulSet");
    user.insist("create", async || {
        let created = api.create(&PostParams::default(), &object).await;
        unless(created.map(|_| ()), &[409])
    })
    .await;
    while user.board.working() {
        user.think(1_000, 8_000).await;
        if user.random.below(0..2) == 0 {
            wanted.replicas = i32::try_from(user.random.below(0..4)).unwrap_or(1);
        } else {
            version += 1;
            wanted.image = format!("db:{version}");
        }
        ask(&user, &api, &wanted).await;
    }
    // A request that was given up may have been carried out late, after later ones.
    ask(&user, &api, &wanted).await;
}

async fn ask(user: &User, api: &Api<StatefulSet>, wanted: &Wanted) {
    user.wishes.set(KIND, &user.name, Some(wanted.clone()));
    let patch = Patch::Merge(json!({"spec": {
        "replicas": wanted.replicas,
        "template": {"spec": {"containers": [{
            "name": "db",
            "image": wanted.image,
            "resources": {"requests": {"cpu": "200m", "memory": "64Mi"}},
        }]}},
    }}));
    user.insist("change", async || {
        api.patch(&user.name, &PatchParams::default(), &patch).await?;
        Ok(())
    })
    .await;
}
