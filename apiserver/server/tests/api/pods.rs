//! Pods: binding, graceful deletion, eviction, and streams to a node agent.

use crate::cluster::Cluster;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use support::tls::{ServerTls, Usage};
use support::{Network as _, TokioNetwork};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn with_accounts(cluster: &Cluster) {
    let account = json!({"metadata": {"name": "default"}});
    cluster
        .client()
        .create("/api/v1/namespaces/default/serviceaccounts", account)
        .await;
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn binding(node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": node}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_bound_once_and_leaves_with_grace_unless_a_budget_holds_it() {
    let cluster = Cluster::start().await;
    with_accounts(&cluster).await;
    let client = cluster.client();
    client.create(PODS, pod("p")).await;
    client.create(&format!("{PODS}/p/binding"), binding("n1")).await;
    let (code, status) = client.post(&format!("{PODS}/p/binding"), binding("n2")).await;
    assert_eq!(code, 409, "{status}");
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("already assigned to node \"n1\"")),
        "{status}"
    );
    let (_, bound) = client.get(&format!("{PODS}/p")).await;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let running =
        json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let path = format!("{PODS}/p/status");
    let (code, _) = client
        .typed(
            Method::PATCH,
            &path,
            "application/strategic-merge-patch+json",
            &running,
        )
        .await;
    assert_eq!(code, 200);
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    client.create(budgets, budget).await;
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    let (code, _) = client
        .typed(
            Method::PATCH,
            &format!("{budgets}/b/status"),
            "application/merge-patch+json",
            &status,
        )
        .await;
    assert_eq!(code, 200);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let (code, status) = client.post(&format!("{PODS}/p/eviction"), eviction.clone()).await;
    assert_eq!(
        (code, &status["reason"]),
        (429, &json!("TooManyRequests")),
        "{status}"
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "DisruptionBudget");
    client
        .json(Method::DELETE, &format!("{budgets}/b"), &Value::Null)
        .await;
    let (code, _) = client.post(&format!("{PODS}/p/eviction"), eviction).await;
    assert_eq!(code, 201);
    let (_, leaving) = client.get(&format!("{PODS}/p")).await;
    assert_eq!(leaving["metadata"]["deletionGracePeriodSeconds"], 30);
    let (code, _) = client
        .json(
            Method::DELETE,
            &format!("{PODS}/p"),
            &json!({"gracePeriodSeconds": 0}),
        )
        .await;
    assert_eq!(code, 200);
    assert_eq!(client.get(&format!("{PODS}/p")).await.0, 404);
}

/// A node agent that answers logs and echoes upgraded streams, and says which path it was asked for.
async fn agent(cluster: &Cluster) -> u16 {
    let listener = TokioNetwork.listen("127.0.0.1:0").await.expect("listens");
    let port = listener.local_addr().expect("an address").port();
    let identity = cluster.issue("system:node:n1", "system:nodes", Usage::Server);
    let tls = ServerTls::new(&identity, Some(cluster.authority.cert_pem()), true).expect("TLS");
    let mut incoming = support::incoming(listener, Some(tls));
    tokio::spawn(async move {
        while let Some(Ok(connection)) = incoming.recv().await {
            let service = service_fn(|mut request: http::Request<hyper::body::Incoming>| async move {
                assert!(
                    !request.headers().contains_key("authorization"),
                    "credentials stay here"
                );
                let path = request.uri().to_string();
                let upgrade = request.headers().get("upgrade").cloned();
                let Some(protocol) = upgrade else {
                    let body = Full::new(Bytes::from(path)).boxed();
                    return Ok::<_, Infallible>(http::Response::new(body));
                };
                tokio::spawn(async move {
                    let upgraded = hyper::upgrade::on(&mut request).await.expect("upgraded");
                    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
                let response = http::Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header("connection", "Upgrade")
                    .header("upgrade", protocol)
                    .header("x-path", path);
                Ok(response.body(Empty::new().boxed()).expect("a response"))
            });
            tokio::spawn(async move {
                let io = TokioIo::new(connection);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .with_upgrades()
                    .await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_exec_streams_pass_through_to_the_node_agent() {
    let cluster = Cluster::start().await;
    with_accounts(&cluster).await;
    let client = cluster.client();
    let port = agent(&cluster).await;
    client
        .create("/api/v1/nodes", json!({"metadata": {"name": "n1"}}))
        .await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let (code, _) = client
        .typed(
            Method::PATCH,
            "/api/v1/nodes/n1/status",
            "application/merge-patch+json",
            &status,
        )
        .await;
    assert_eq!(code, 200);
    client.create(PODS, pod("p")).await;
    let (status, _, text) = client
        .send(Method::GET, &format!("{PODS}/p/log"), &[], Bytes::new())
        .await;
    assert_eq!((status, text.len()), (StatusCode::OK, 0), "not on a node yet");
    client.create(&format!("{PODS}/p/binding"), binding("n1")).await;
    let log = format!("{PODS}/p/log?tailLines=5&follow=true");
    let (_, _, text) = client.send(Method::GET, &log, &[], Bytes::new()).await;
    assert_eq!(text, "/containerLogs/default/p/c?tailLines=5&follow=true");
    assert_eq!(client.get(&format!("{PODS}/p/log?container=x")).await.0, 400);
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", "v5.channel.k8s.io"),
    ];
    let path = format!("{PODS}/p/exec?command=ls&command=-l&stdin=true&stdout=true");
    let mut response = client.open(Method::GET, &path, &upgrade, Bytes::new()).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(
        response.headers()["x-path"],
        "/exec/default/p/c?input=1&output=1&command=ls&command=%2Dl"
    );
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.expect("upgraded"));
    stream.write_all(b"hello").await.expect("written");
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.expect("read");
    assert_eq!(&back, b"hello");
    let (_, _, text) = client
        .send(
            Method::GET,
            "/api/v1/nodes/n1/proxy/stats/summary?x=1",
            &[],
            Bytes::new(),
        )
        .await;
    assert_eq!(text, "/stats/summary?x=1");
}
