//! Users of one Deployment each: one creates, scales, rolls out, deletes, and creates it again; another leaves it alone.

use super::{User, Wanted, unless};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const KIND: &str = "Deployment";

/// Works until the world is quiet; then the last wish stands, and has been asked for.
pub async fn deploy(user: User) {
    let api: Api<Deployment> = Api::default_namespaced(user.client.clone());
    let mut version = 1;
    let mut wanted = Wanted {
        replicas: 3,
        image: "web:1".to_owned(),
    };
    let mut there = false;
    while user.board.working() {
        match user.random.below(0..10) {
            _ if !there => there = true,
            0..4 => wanted.replicas = i32::try_from(user.random.below(0..6)).unwrap_or(1),
            4..8 => {
                version += 1;
                wanted.image = format!("web:{version}");
            }
            _ => there = false,
        }
        ask(&user, &api, there.then_some(&wanted)).await;
        user.think(500, 6_000).await;
    }
    // A request that was given up may have been carried out late, after later ones.
    ask(&user, &api, there.then_some(&wanted)).await;
}

/// Asks for a Deployment once: what becomes of its pods is not the user's doing.
pub async fn leave_alone(user: User) {
    let api: Api<Deployment> = Api::default_namespaced(user.client.clone());
    let wanted = Wanted {
        replicas: 4,
        image: "web:1".to_owned(),
    };
    ask(&user, &api, Some(&wanted)).await;
}

/// An answer may have been lost and the object be another's work: the wish is always asked in full.
async fn ask(user: &User, api: &Api<Deployment>, wanted: Option<&Wanted>) {
    user.wishes.set(KIND, &user.name, wanted.cloned());
    let Some(wanted) = wanted else {
        return user
            .insist("delete", async || {
                let deleted = api.delete(&user.name, &DeleteParams::background()).await;
                unless(deleted.map(|_| ()), &[404])
            })
            .await;
    };
    let object: Deployment = serde_json::from_value(deployment(&user.name, wanted)).expect("a Deployment");
    let patch = Patch::Merge(change_of(wanted));
    user.insist("change", async || {
        match api.patch(&user.name, &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                api.create(&PostParams::default(), &object).await?;
            }
            patched => drop(patched?),
        }
        Ok(())
    })
    .await;
}

fn change_of(wanted: &Wanted) -> Value {
    json!({"spec": {
        "replicas": wanted.replicas,
        "template": {"spec": {"containers": [{
            "name": "web",
            "image": wanted.image,
            "resources": {"requests": {"cpu": "300m", "memory": "64Mi"}},
        }]}},
    }})
}

fn deployment(name: &str, wanted: &Wanted) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": wanted.replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": {"app": name}},
                // A token is signed with the operating system's randomness: it would be in the trace.
                "spec": {"automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "web", "image": wanted.image,
                        "resources": {"requests": {"cpu": "300m", "memory": "64Mi"}}}]},
            },
        },
    })
}
