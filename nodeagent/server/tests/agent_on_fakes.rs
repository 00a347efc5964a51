//! The whole agent against an API server in memory, a runtime in memory and a machine in memory.

#[path = "node/fake_api.rs"]
mod fake_api;
#[path = "node/wait.rs"]
mod wait;

use fake_api::FakeApi;
use nodeagent_server::{FakeHost, FakeRuntime, NodeAgent, NodeAgentConfig};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::{Env, SystemClock};
use tokio_util::sync::CancellationToken;
use wait::eventually;

struct World {
    api: FakeApi,
    config: NodeAgentConfig,
    runtime: Arc<FakeRuntime>,
    host: Arc<FakeHost>,
    cancel: CancellationToken,
    _folder: tempfile::TempDir,
}

const POD: &str = "/api/v1/namespaces/default/pods/p";

impl World {
    async fn new() -> Self {
        let (api, address) = FakeApi::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = NodeAgentConfig::new(
            "n1",
            "127.0.0.1".parse().expect("an address"),
            folder.path().join("data"),
            folder.path().join("run"),
        );
        config.api_servers = vec![address];
        config.listen = "127.0.0.1:0".to_owned();
        config.observe_interval = Duration::from_millis(50);
        config.status_interval = Duration::from_millis(100);
        config.lease_renewal = Duration::from_millis(100);
        config.volume_refresh = Duration::from_millis(200);
        Self {
            api,
            config,
            runtime: Arc::new(FakeRuntime::new(Arc::new(SystemClock), "10.244.1")),
            host: Arc::new(FakeHost::new(4, 8 << 30)),
            cancel: CancellationToken::new(),
            _folder: folder,
        }
    }

    fn start(&mut self) -> tokio::task::JoinHandle<anyhow::Result<()>> {
        self.cancel = CancellationToken::new();
        let agent = NodeAgent::new(
            self.config.clone(),
            Env::production(),
            Arc::clone(&self.runtime) as _,
            Arc::clone(&self.host) as _,
        );
        tokio::spawn(agent.run(self.cancel.clone()))
    }

    fn pod(&self, spec: Value) {
        let mut spec = spec;
        spec["nodeName"] = json!("n1");
        let metadata = json!({"name": "p", "namespace": "default", "generation": 1});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        self.api.put(POD, pod);
    }

    async fn phase(&self, wanted: &str) {
        eventually(&format!("phase {wanted}"), || {
            self.api.get(POD).is_some_and(|p| p["status"]["phase"] == wanted)
        })
        .await;
    }

    async fn ready(&self, wanted: &str) {
        eventually(&format!("Ready={wanted}"), || {
            let pod = self.api.get(POD).unwrap_or_default();
            let conditions = pod["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            conditions
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == wanted)
        })
        .await;
    }
}

#[tokio::test]
async fn a_node_registers_runs_a_pod_and_lets_it_go() {
    let mut world = World::new().await;
    let agent = world.start();
    eventually("a ready node", || {
        let node = world.api.get("/api/v1/nodes/n1").unwrap_or_default();
        let conditions = node["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    })
    .await;
    let node = world.api.get("/api/v1/nodes/n1").expect("a node");
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.36.0");
    assert_eq!(node["status"]["capacity"]["cpu"], "4");
    eventually("a lease", || {
        let lease = world
            .api
            .get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1");
        lease.is_some_and(|l| l["spec"]["holderIdentity"] == "n1")
    })
    .await;
    let map = "/api/v1/namespaces/default/configmaps/settings";
    let settings = |value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": "default"}, "data": {"mode": value}})
    };
    world.api.put(map, settings("fast"));
    world.pod(json!({
        "containers": [{"name": "c", "image": "busybox:1",
            "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 1},
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "volumeMounts": [{"name": "all", "mountPath": "/all"}]}],
        "volumes": [{"name": "all", "projected": {"sources": [
            {"configMap": {"name": "settings"}},
            {"serviceAccountToken": {"path": "token"}},
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}],
    }));
    world.ready("True").await;
    let pod = world.api.get(POD).expect("a pod");
    let uid = pod["metadata"]["uid"].as_str().expect("a uid").to_owned();
    assert!(
        pod["status"]["podIP"]
            .as_str()
            .is_some_and(|ip| ip.starts_with("10.244.1."))
    );
    assert!(
        pod["status"]["containerStatuses"][0]["containerID"]
            .as_str()
            .is_some_and(|id| id.starts_with("fake://"))
    );
    let volume = world
        .config
        .data_dir
        .join(format!("pods/{uid}/volumes/kubernetes.io~projected/all"));
    let read = |name: &str| {
        use nodeagent_server::NodeHost as _;
        let (host, path) = (Arc::clone(&world.host), volume.join(name));
        async move { String::from_utf8(host.read_file(&path).await.unwrap_or_default()).expect("text") }
    };
    assert_eq!(
        (read("mode").await, read("token").await, read("name").await),
        ("fast".to_owned(), "a-token".to_owned(), "p".to_owned())
    );
    world.api.put(map, settings("slow"));
    for _ in 0..300 {
        if read("mode").await == "slow" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(read("mode").await, "slow", "volumes follow their sources");
    world.host.refuse_connections(true);
    world.ready("False").await;
    world.api.delete_pod(POD, 30);
    eventually("the pod to be gone", || world.api.get(POD).is_none()).await;
    assert!(world.runtime.running().is_empty());
    let left = world.host.paths();
    assert!(
        left.iter().all(|p| !p.to_string_lossy().contains(&uid)),
        "{left:?}"
    );
    world.cancel.cancel();
    agent.await.expect("a task").expect("a clean end");
}

#[tokio::test]
async fn pods_outlive_the_agent_and_what_lost_its_object_is_taken_away() {
    let mut world = World::new().await;
    let agent = world.start();
    world.pod(json!({"containers": [{"name": "c", "image": "busybox:1"}]}));
    world.phase("Running").await;
    let before = world.api.get(POD).expect("a pod")["status"]["containerStatuses"][0]["containerID"].clone();
    world.cancel.cancel();
    agent.await.expect("a task").expect("a clean end");
    assert_eq!(world.runtime.running().len(), 1);
    let agent = world.start();
    world.ready("True").await;
    let after = world.api.get(POD).expect("a pod")["status"]["containerStatuses"][0].clone();
    assert_eq!(
        (&after["containerID"], &after["restartCount"]),
        (&before, &json!(0))
    );
    world.cancel.cancel();
    agent.await.expect("a task").expect("a clean end");
    world.api.delete(POD);
    let agent = world.start();
    eventually("the orphan to stop", || world.runtime.running().is_empty()).await;
    world.cancel.cancel();
    agent.await.expect("a task").expect("a clean end");
}

#[tokio::test]
async fn a_job_completes_and_a_missing_image_is_said_to_be_missing() {
    let mut world = World::new().await;
    let _agent = world.start();
    world.pod(json!({"restartPolicy": "Never",
        "containers": [{"name": "c", "image": "fake/exit-0-after-0:1"}]}));
    world.phase("Succeeded").await;
    world.api.delete_pod(POD, 1);
    eventually("the pod to be gone", || world.api.get(POD).is_none()).await;
    world.pod(json!({"containers": [{"name": "c", "image": "missing:1"}]}));
    eventually("ImagePullBackOff", || {
        let pod = world.api.get(POD).unwrap_or_default();
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
    })
    .await;
    let events = world.api.list("/api/v1/namespaces/default/events/");
    let reasons: Vec<&str> = events.iter().filter_map(|e| e["reason"].as_str()).collect();
    for reason in ["Pulled", "Created", "Started", "Pulling", "Failed"] {
        assert!(reasons.contains(&reason), "{reason} in {reasons:?}");
    }
}

#[tokio::test]
async fn a_node_that_was_called_unknown_says_at_once_that_it_is_ready() {
    let mut world = World::new().await;
    let agent = world.start();
    let path = "/api/v1/nodes/n1";
    let ready = |node: &Value| {
        let conditions = node["status"]["conditions"].as_array().cloned();
        let ready = conditions.into_iter().flatten().find(|c| c["type"] == "Ready");
        ready.map(|c| c["status"].clone()).unwrap_or_default()
    };
    let is_ready = || world.api.get(path).is_some_and(|node| ready(&node) == "True");
    eventually("a ready node", is_ready).await;
    let mut node = world.api.get(path).expect("a node");
    for condition in node["status"]["conditions"].as_array_mut().expect("conditions") {
        condition["status"] = json!("Unknown");
    }
    world.api.put(path, node);
    eventually("a ready node again", is_ready).await;
    world.cancel.cancel();
    agent.await.expect("a task").expect("a clean end");
}
