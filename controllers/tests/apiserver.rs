//! The controllers against our API server. Node agents are played by the test.

#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{Cluster, wait};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

const NAMESPACE: &str = "shop";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_lives_from_creation_to_garbage() {
    let cluster = Cluster::start().await;
    let client = cluster.client.clone();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}})).unwrap();
    wait("the API server", || async {
        namespaces.create(&PostParams::default(), &namespace).await.ok()
    })
    .await;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    wait("the default account", || async {
        accounts.get("default").await.ok()
    })
    .await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    wait("the published root CA", || async {
        maps.get("kube-root-ca.crt").await.ok()
    })
    .await;

    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let service = serde_json::from_value(json!({"metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}))
    .unwrap();
    services.create(&PostParams::default(), &service).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let deployment = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}}}))
    .unwrap();
    deployments
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    rolled_out(&client, 2, "1").await;
    wait("two ready endpoints", || async {
        (ready_endpoints(&client).await == 2).then_some(())
    })
    .await;

    merge(
        &deployments,
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}}),
    )
    .await;
    rolled_out(&client, 2, "2").await;
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), NAMESPACE);
    let mut sizes: Vec<_> = sets
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|set| set.spec.unwrap().replicas)
        .collect();
    sizes.sort();
    assert_eq!(sizes, [Some(0), Some(2)]);

    merge(&deployments, json!({"spec": {"replicas": 4}})).await;
    rolled_out(&client, 4, "2").await;

    deployments
        .delete("web", &DeleteParams::background())
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    wait("the garbage to be collected", || async {
        let left = sets.list(&ListParams::default()).await.ok()?.items.len();
        finish_terminating(&pods).await;
        (left + pods.list(&ListParams::default()).await.ok()?.items.len() == 0).then_some(())
    })
    .await;

    namespaces
        .delete(NAMESPACE, &DeleteParams::default())
        .await
        .unwrap();
    wait("the namespace to be gone", || async {
        namespaces.get_opt(NAMESPACE).await.ok()?.is_none().then_some(())
    })
    .await;
}

async fn merge(deployments: &Api<Deployment>, patch: serde_json::Value) {
    deployments
        .patch("web", &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .unwrap();
}

/// Plays the node agents until the Deployment says it's complete.
async fn rolled_out(client: &Client, replicas: i32, revision: &str) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    wait(
        &format!("revision {revision} with {replicas} replicas"),
        || async {
            run(&pods).await;
            finish_terminating(&pods).await;
            let deployment = deployments.get("web").await.ok()?;
            let status = deployment.status?;
            let current = status.observed_generation == deployment.metadata.generation;
            let counts = [
                status.replicas,
                status.updated_replicas,
                status.available_replicas,
            ];
            let number = deployment
                .metadata
                .annotations?
                .get("deployment.kubernetes.io/revision")
                .cloned();
            (current && counts == [Some(replicas); 3] && number.as_deref() == Some(revision)).then_some(())
        },
    )
    .await;
}

/// Brings every new pod up.
async fn run(pods: &Api<Pod>) {
    for (n, pod) in pods
        .list(&ListParams::default())
        .await
        .map(|list| list.items)
        .unwrap_or_default()
        .into_iter()
        .enumerate()
    {
        let running = pod
            .status
            .as_ref()
            .is_some_and(|status| status.phase.as_deref() == Some("Running"));
        if running || pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let status = json!({"status": {"phase": "Running", "podIP": format!("10.0.0.{}", n + 1),
            "podIPs": [{"ip": format!("10.0.0.{}", n + 1)}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let name = pod.metadata.name.unwrap();
        // The pod may be deleted at this very moment.
        let _ = pods
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await;
    }
}

/// Confirms the end of pods that are being deleted, as a node agent does.
async fn finish_terminating(pods: &Api<Pod>) {
    for pod in pods
        .list(&ListParams::default())
        .await
        .map(|list| list.items)
        .unwrap_or_default()
    {
        if pod.metadata.deletion_timestamp.is_some() {
            let now = DeleteParams::default().grace_period(0);
            let _ = pods.delete(&pod.metadata.name.unwrap(), &now).await;
        }
    }
}

async fn ready_endpoints(client: &Client) -> usize {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    let list = slices
        .list(&ListParams::default())
        .await
        .map(|list| list.items)
        .unwrap_or_default();
    let endpoints = list
        .into_iter()
        .flat_map(|slice| slice.endpoints.unwrap_or_default());
    endpoints
        .filter(|endpoint| {
            endpoint
                .conditions
                .as_ref()
                .is_some_and(|c| c.ready == Some(true))
        })
        .count()
}
