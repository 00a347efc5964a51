//! Writes: conflicts, dry runs, finalizers, generated names, status, Services.

use crate::cluster::Cluster;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_an_old_resource_version_conflicts_and_a_dry_run_writes_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let old = client.create(MAPS, json!({"metadata": {"name": "a"}})).await;
    let mut new = old.clone();
    new["data"] = json!({"k": "v"});
    let (code, updated) = client.json(Method::PUT, &format!("{MAPS}/a"), &new).await;
    assert_eq!(code, 200);
    let (code, status) = client.json(Method::PUT, &format!("{MAPS}/a"), &new).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
    let (_, same) = client.json(Method::PUT, &format!("{MAPS}/a"), &updated).await;
    assert_eq!(
        same["metadata"]["resourceVersion"], updated["metadata"]["resourceVersion"],
        "no change, no write"
    );
    let (code, status) = client.post(MAPS, json!({"metadata": {"name": "a"}})).await;
    assert_eq!((code, &status["reason"]), (409, &json!("AlreadyExists")));
    let (code, dry) = client
        .post(
            &format!("{MAPS}?dryRun=All"),
            json!({"metadata": {"generateName": "d-"}}),
        )
        .await;
    assert_eq!(code, 201);
    let name = dry["metadata"]["name"].as_str().expect("a generated name");
    assert_eq!(name.len(), 7);
    assert_eq!(client.get(&format!("{MAPS}/{name}")).await.0, 404);
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    client.create(MAPS, held).await;
    let (_, waiting) = client
        .json(Method::DELETE, &format!("{MAPS}/held"), &Value::Null)
        .await;
    assert!(waiting["metadata"]["deletionTimestamp"].is_string());
    let release = json!({"metadata": {"finalizers": null}});
    let (code, _) = client
        .typed(
            Method::PATCH,
            &format!("{MAPS}/held"),
            "application/merge-patch+json",
            &release,
        )
        .await;
    assert_eq!(code, 200);
    assert_eq!(client.get(&format!("{MAPS}/held")).await.0, 404);
    let wrong = json!({"preconditions": {"uid": "other"}});
    assert_eq!(
        client.json(Method::DELETE, &format!("{MAPS}/a"), &wrong).await.0,
        409
    );
    assert_eq!(client.json(Method::DELETE, MAPS, &Value::Null).await.0, 200);
    assert_eq!(client.get(MAPS).await.1["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_spec_are_written_by_their_own_endpoints() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"metadata": {"name": "d"}, "status": {"replicas": 9},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let created = client.create(deployments, deployment).await;
    assert_eq!(
        (
            created["metadata"]["generation"].as_i64(),
            created["status"]["replicas"].as_i64()
        ),
        (Some(1), None)
    );
    let patch = json!({"spec": {"replicas": 5}, "status": {"replicas": 2}});
    let path = format!("{deployments}/d/status");
    let (code, patched) = client
        .typed(Method::PATCH, &path, "application/merge-patch+json", &patch)
        .await;
    assert_eq!(code, 200, "{patched}");
    assert_eq!(
        (
            patched["spec"]["replicas"].as_i64(),
            patched["status"]["replicas"].as_i64()
        ),
        (Some(1), Some(2))
    );
    assert_eq!(patched["metadata"]["generation"], 1);
    let path = format!("{deployments}/d/scale");
    let (_, scale) = client.get(&path).await;
    assert_eq!(
        (&scale["kind"], &scale["status"]["selector"]),
        (&json!("Scale"), &json!("a=b"))
    );
    let (code, scale) = client
        .typed(
            Method::PATCH,
            &path,
            "application/merge-patch+json",
            &json!({"spec": {"replicas": 3}}),
        )
        .await;
    assert_eq!(
        (code, scale["spec"]["replicas"].as_i64()),
        (200, Some(3)),
        "{scale}"
    );
    let (_, deployment) = client.get(&format!("{deployments}/d")).await;
    assert_eq!(deployment["metadata"]["generation"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_gets_an_address_of_its_own_and_gives_it_back() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let created = client.create(services, service("a")).await;
    let ip = created["spec"]["clusterIP"]
        .as_str()
        .expect("an address")
        .to_owned();
    let port = created["spec"]["ports"][0]["nodePort"].clone();
    let addresses = "/apis/networking.k8s.io/v1/ipaddresses";
    assert_eq!(
        client.get(&format!("{addresses}/{ip}")).await.1["spec"]["parentRef"]["name"],
        "a"
    );
    let mut taken = service("b");
    taken["spec"]["clusterIP"] = json!(ip);
    assert_eq!(client.post(services, taken).await.0, 422);
    let mut taken = service("b");
    taken["spec"]["ports"][0]["nodePort"] = port;
    assert_eq!(client.post(services, taken.clone()).await.0, 422);
    assert_eq!(
        client
            .json(Method::DELETE, &format!("{services}/a"), &Value::Null)
            .await
            .0,
        200
    );
    assert_eq!(client.get(&format!("{addresses}/{ip}")).await.0, 404);
    client.create(services, taken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_refuses_what_goes_beyond_it() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    let hard = json!({"configmaps": "2"});
    client
        .create(quotas, json!({"metadata": {"name": "q"}, "spec": {"hard": hard}}))
        .await;
    let status = json!({"status": {"hard": hard, "used": {"configmaps": "1"}}});
    let path = format!("{quotas}/q/status");
    let (code, _) = client
        .typed(Method::PATCH, &path, "application/merge-patch+json", &status)
        .await;
    assert_eq!(code, 200);
    // Writes are charged by the server's own view of the quotas, which follows what is stored.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let (_, list) = client.get(&format!("{quotas}?resourceVersion=0")).await;
        if list["items"][0]["status"]["used"]["configmaps"] == "1" {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{list}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    client.create(MAPS, json!({"metadata": {"name": "a"}})).await;
    let (code, status) = client.post(MAPS, json!({"metadata": {"name": "b"}})).await;
    assert_eq!(
        (code, &status["message"]),
        (
            403,
            &json!(
                "configmaps \"b\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"
            )
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_autoscalers_are_one_object_in_two_versions() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let event = json!({"metadata": {"name": "e"}, "message": "m", "reason": "r", "type": "Normal",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}});
    client.create("/api/v1/namespaces/default/events", event).await;
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    let (_, event) = client.get(&format!("{new}/e")).await;
    assert_eq!(
        (&event["note"], &event["regarding"]["name"]),
        (&json!("m"), &json!("p"))
    );
    let (_, list) = client
        .get(&format!("{new}?fieldSelector=regarding.name%3Dp"))
        .await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    let (_, list) = client
        .get("/api/v1/events?fieldSelector=involvedObject.name%3Dother")
        .await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0));
    let autoscaler = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70,
        "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}});
    client
        .create(
            "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
            autoscaler,
        )
        .await;
    let (_, newer) = client
        .get("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h")
        .await;
    assert_eq!(
        newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        70
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_bodies_are_read_as_generated_clients_send_them() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    let encode = |value: &Value| Bytes::from(kubeschema::protobuf::encode(value).expect("a built-in kind"));
    let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "p"}, "data": {"k": "v"}});
    let (status, _, body) = client.send(Method::POST, MAPS, &protobuf, encode(&map)).await;
    assert_eq!(status.as_u16(), 201, "{body:?}");
    assert_eq!(client.get(&format!("{MAPS}/p")).await.1["data"]["k"], "v");
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let path = format!("{MAPS}/p");
    let (status, _, body) = client
        .send(Method::DELETE, &path, &protobuf, encode(&options))
        .await;
    assert_eq!(status.as_u16(), 200, "{body:?}");
    assert_eq!(client.get(&path).await.0, 404);
}
