//! Who may do what: certificates, tokens, bootstrap tokens, roles, impersonation.

use crate::cluster::{Cluster, DEADLINE};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use support::tls::Usage;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn strangers_see_health_and_version_and_nothing_else() {
    let cluster = Cluster::start().await;
    let stranger = cluster.client_to(0, None);
    assert_eq!(stranger.get("/version").await.1["gitVersion"], "v1.36.0+trireme");
    let (status, ..) = stranger.send(Method::GET, "/livez", &[], Bytes::new()).await;
    assert_eq!(status, StatusCode::OK);
    let (code, status) = stranger.get("/api/v1/namespaces/default/pods").await;
    assert_eq!((code, &status["reason"]), (401, &json!("Unauthorized")));
    let mut wrong = cluster.client_to(0, None);
    wrong.token = Some("nonsense".to_owned());
    assert_eq!(wrong.get("/version").await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_token_does_what_its_roles_say_until_the_account_is_gone() {
    let cluster = Cluster::start().await;
    let admin = cluster.client();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    admin
        .create(accounts, json!({"metadata": {"name": "robot"}}))
        .await;
    let request = json!({"spec": {"expirationSeconds": 600}});
    let token = admin.create(&format!("{accounts}/robot/token"), request).await;
    let mut robot = cluster.client_to(0, None);
    robot.token = token["status"]["token"].as_str().map(str::to_owned);
    let pods = "/api/v1/namespaces/default/pods";
    let (code, status) = robot.get(pods).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "pods is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \"pods\" in API group \
         \"\" in the namespace \"default\""
    );
    let binding = json!({"metadata": {"name": "robot"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]});
    admin
        .create(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
            binding,
        )
        .await;
    let deadline = Instant::now() + DEADLINE;
    while robot.get(pods).await.0 != 200 {
        assert!(Instant::now() < deadline, "the binding takes no effect");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nobody grants what they don't have.
    let grab = json!({"metadata": {"name": "grab"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]});
    let (code, _) = robot
        .post(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
            grab.clone(),
        )
        .await;
    assert_eq!(code, 403);
    let binding = json!({"metadata": {"name": "robot-admin"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]});
    admin
        .create(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
            binding,
        )
        .await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (code, status) = robot
            .post(
                "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
                grab.clone(),
            )
            .await;
        assert_eq!(code, 403, "{status}");
        let text = status["message"].as_str().unwrap_or_default();
        if text.contains("is attempting to grant RBAC permissions not currently held") {
            break;
        }
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let review = admin
        .create(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            json!({"spec": {"token": robot.token}}),
        )
        .await;
    assert_eq!(review["status"]["authenticated"], true);
    assert_eq!(
        review["status"]["user"]["username"],
        "system:serviceaccount:default:robot"
    );
    let (code, _) = admin
        .json(Method::DELETE, &format!("{accounts}/robot"), &Value::Null)
        .await;
    assert_eq!(code, 200);
    assert_eq!(robot.get(pods).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_token_joins_and_an_impersonator_is_checked() {
    let cluster = Cluster::start().await;
    let admin = cluster.client();
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true", "auth-extra-groups": "system:bootstrappers:workers"}});
    admin
        .create("/api/v1/namespaces/kube-system/secrets", secret)
        .await;
    let mut joiner = cluster.client_to(0, None);
    joiner.token = Some("abcdef.0123456789abcdef".to_owned());
    let who = joiner
        .create("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({}))
        .await;
    assert_eq!(who["status"]["userInfo"]["username"], "system:bootstrap:abcdef");
    joiner.token = Some("abcdef.0123456789abcdee".to_owned());
    assert_eq!(joiner.get("/api").await.0, 401);
    let bob = cluster.client_to(0, Some(&cluster.issue("bob", "people", Usage::Client)));
    let as_admin = [
        ("impersonate-user", "kubernetes-admin"),
        ("impersonate-group", "system:masters"),
    ];
    let (status, ..) = bob
        .send(Method::GET, "/api/v1/secrets", &as_admin, Bytes::new())
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, ..) = admin
        .send(
            Method::GET,
            "/api/v1/secrets",
            &[("impersonate-user", "bob")],
            Bytes::new(),
        )
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    // What is sealed in the store is read in the clear by those who may.
    let (_, secret) = admin
        .get("/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef")
        .await;
    assert_eq!(secret["data"]["token-id"], "YWJjZGVm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_reads_only_what_its_pods_refer_to() {
    let cluster = Cluster::start().await;
    let admin = cluster.client();
    let node = cluster.client_to(
        0,
        Some(&cluster.issue("system:node:n1", "system:nodes", Usage::Client)),
    );
    for name in ["mine", "other"] {
        admin
            .create(
                "/api/v1/namespaces/default/secrets",
                json!({"metadata": {"name": name}}),
            )
            .await;
    }
    node.create("/api/v1/nodes", json!({"metadata": {"name": "n1"}}))
        .await;
    let (code, _) = node
        .post("/api/v1/nodes", json!({"metadata": {"name": "n2"}}))
        .await;
    assert_eq!(code, 403);
    admin
        .create(
            "/api/v1/namespaces/default/serviceaccounts",
            json!({"metadata": {"name": "default"}}),
        )
        .await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "secret": {"secretName": "mine"}}]}});
    admin.create("/api/v1/namespaces/default/pods", pod).await;
    let deadline = Instant::now() + DEADLINE;
    while node.get("/api/v1/namespaces/default/secrets/mine").await.0 != 200 {
        assert!(Instant::now() < deadline, "the node can't read its pod's secret");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(node.get("/api/v1/namespaces/default/secrets/other").await.0, 403);
    assert_eq!(
        node.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await.0,
        200
    );
    assert_eq!(node.get("/api/v1/secrets").await.0, 403);
    // Tokens only for its own pods, evictions only of its own pods.
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (code, status) = node.post(token, json!({"spec": {}})).await;
    assert_eq!(code, 403, "{status}");
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("not bound to a pod")),
        "{status}"
    );
    let uid = admin.get("/api/v1/namespaces/default/pods/p").await.1["metadata"]["uid"].clone();
    let bound =
        json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}}});
    node.create(token, bound).await;
    let pods = "/api/v1/namespaces/default/pods";
    let elsewhere = json!({"metadata": {"name": "q"},
        "spec": {"nodeName": "n2", "containers": [{"name": "c", "image": "i"}]}});
    admin.create(pods, elsewhere).await;
    let eviction =
        |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    assert_eq!(
        node.post(&format!("{pods}/q/eviction"), eviction("q")).await.0,
        403
    );
    assert_eq!(
        node.post(&format!("{pods}/p/eviction"), eviction("p")).await.0,
        201
    );
}
