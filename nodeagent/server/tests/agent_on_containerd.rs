//! The agent with a private containerd, in a network namespace that the test makes, on a machine that has
//! containerd, runc, the CNI plugins and a static busybox. Needs root.

#[path = "node/fake_api.rs"]
mod fake_api;
#[path = "node/image.rs"]
mod image;
#[path = "node/streams.rs"]
mod streams;
#[path = "node/wait.rs"]
mod wait;

use fake_api::FakeApi;
use nodeagent_server::{NodeAgentConfig, import_image, run_on_linux};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use support::Env;
use tokio_util::sync::CancellationToken;
use wait::eventually;

const INSIDE: &str = "TRIREME_TEST_INSIDE_NAMESPACE";
const POD: &str = "/api/v1/namespaces/default/pods/p";

/// Runs this same test again inside a fresh network namespace. True in the outer process, when all is done.
fn ran_in_a_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let name = format!("agenttest{}", std::process::id());
    let ip = |words: &[&str]| {
        let status = Command::new("ip").args(words).status().expect("ip");
        assert!(status.success(), "ip {words:?}");
    };
    ip(&["netns", "add", &name]);
    ip(&["-n", &name, "link", "set", "lo", "up"]);
    let status = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{name}"))
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, &name)
        .status()
        .expect("nsenter");
    end_leftovers(&name);
    ip(&["netns", "del", &name]);
    assert!(status.success(), "{test} failed inside its namespace");
    true
}

/// A test that failed leaves a runtime, pods and mounts behind: all in its namespace, its cgroup, its folder.
fn end_leftovers(name: &str) {
    let mut pids = String::from_utf8(
        Command::new("ip")
            .args(["netns", "pids", name])
            .output()
            .expect("ip")
            .stdout,
    )
    .expect("text");
    let cgroups = Command::new("find")
        .args([&format!("/sys/fs/cgroup/memory/{name}"), "-name", "cgroup.procs"])
        .output()
        .expect("find");
    for file in String::from_utf8_lossy(&cgroups.stdout).lines() {
        pids.push_str(&std::fs::read_to_string(file).unwrap_or_default());
    }
    let ids: Vec<&str> = pids.split_whitespace().collect();
    if !ids.is_empty() {
        let _ = Command::new("kill").arg("-9").args(ids).status();
    }
    let folder = folder(name);
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|p| p.starts_with(&folder)) {
        let _ = Command::new("umount").args(["-l", point]).status();
    }
    let _ = std::fs::remove_dir_all(folder);
}

fn folder(name: &str) -> String {
    format!("/run/{name}")
}

struct World {
    api: FakeApi,
    config: NodeAgentConfig,
    cancel: CancellationToken,
}

impl World {
    async fn new() -> Self {
        support::telemetry::init(support::telemetry::Format::Text);
        let (api, address) = FakeApi::start().await;
        let name = std::env::var(INSIDE).expect("the namespace's name");
        let folder = std::path::PathBuf::from(folder(&name));
        let mut config = NodeAgentConfig::new(
            &name,
            "127.0.0.1".parse().expect("an address"),
            folder.join("data"),
            folder.join("run"),
        );
        config.api_servers = vec![address];
        config.listen = "127.0.0.1:10250".to_owned();
        config.cgroup_root = format!("/{name}");
        config.observe_interval = Duration::from_millis(200);
        config.status_interval = Duration::from_millis(500);
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": config.node_name}, "spec": {"podCIDR": "10.244.77.0/24"}});
        api.put(&format!("/api/v1/nodes/{}", config.node_name), node);
        Self {
            api,
            config,
            cancel: CancellationToken::new(),
        }
    }

    fn start(&mut self) -> tokio::task::JoinHandle<anyhow::Result<()>> {
        self.cancel = CancellationToken::new();
        tokio::spawn(run_on_linux(
            self.config.clone(),
            Env::production(),
            self.cancel.clone(),
        ))
    }

    async fn node_is_ready(&self) {
        let path = format!("/api/v1/nodes/{}", self.config.node_name);
        eventually("a ready node", || {
            let node = self.api.get(&path).unwrap_or_default();
            let conditions = node["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            conditions
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True")
        })
        .await;
    }

    async fn images(&self) {
        let archive = self.config.run_dir.join("images.tar");
        image::write_busybox(&archive);
        import_image(&self.config.runtime_socket(), &archive)
            .await
            .expect("an import");
    }

    fn pod(&self, mut spec: Value) {
        spec["nodeName"] = json!(self.config.node_name);
        let metadata = json!({"name": "p", "namespace": "default", "generation": 1});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        self.api.put(POD, pod);
    }

    async fn status(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || {
            self.api.get(POD).is_some_and(|p| condition(&p["status"]))
        })
        .await;
        self.api.get(POD).expect("a pod")["status"].clone()
    }

    fn log(&self, container: &str, attempt: u32) -> String {
        let uid = self.api.get(POD).expect("a pod")["metadata"]["uid"].clone();
        let folder = format!("logs/pods/default_p_{}", uid.as_str().expect("a uid"));
        let file = format!("{folder}/{container}/{attempt}.log");
        std::fs::read_to_string(self.config.data_dir.join(file)).unwrap_or_default()
    }
}

fn is_ready(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions
        .iter()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_lives_and_ends_on_containerd() {
    if ran_in_a_namespace("a_pod_lives_and_ends_on_containerd") {
        return;
    }
    let mut world = World::new().await;
    let agent = world.start();
    world.node_is_ready().await;
    world.images().await;
    world.pod(json!({
        "terminationGracePeriodSeconds": 2,
        "initContainers": [{"name": "init", "image": "localhost/test/busybox:1",
            "command": ["sh", "-c", "echo prepared > /work/state"],
            "volumeMounts": [{"name": "work", "mountPath": "/work"}]}],
        "containers": [
            {"name": "web", "image": "localhost/test/busybox:1",
                "command": ["sh", "-c", "cat /work/state; echo \"$GREETING from $(hostname)\"; mkdir -p /tmp/w; echo hello > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"],
                "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "GREETING", "value": "hi $(NAME)"}],
                "readinessProbe": {"httpGet": {"port": 8080, "path": "/"}, "periodSeconds": 1},
                "livenessProbe": {"exec": {"command": ["cat", "/tmp/w/index.html"]}, "periodSeconds": 1, "failureThreshold": 1},
                "resources": {"limits": {"memory": "64Mi", "cpu": "200m"}},
                "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                "volumeMounts": [{"name": "work", "mountPath": "/work"}, {"name": "work", "mountPath": "/state", "subPath": "state"}]},
            {"name": "crash", "image": "localhost/test/busybox:1",
                "command": ["sh", "-c", "test -f /work/again && exec sleep 1000; echo once > /work/again; echo last words > /dev/termination-log; exit 3"],
                "volumeMounts": [{"name": "work", "mountPath": "/work"}]}],
        "volumes": [{"name": "work", "emptyDir": {"medium": "Memory"}}],
    }));
    let status = world
        .status("a ready pod, once crashed", |status| {
            let containers = status["containerStatuses"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            is_ready(status) && containers.iter().any(|c| c["restartCount"] == 1)
        })
        .await;
    assert!(
        status["podIP"]
            .as_str()
            .is_some_and(|ip| ip.starts_with("10.244.77.")),
        "{status}"
    );
    let crash = status["containerStatuses"]
        .as_array()
        .and_then(|list| list.iter().find(|c| c["name"] == "crash"))
        .expect("a status");
    assert_eq!(crash["restartCount"], 1);
    assert_eq!(crash["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(crash["lastState"]["terminated"]["message"], "last words\n");
    let log = world.log("web", 0);
    assert!(
        log.contains("stdout F prepared") && log.contains("stdout F hi p from p"),
        "{log}"
    );

    endpoints_answer().await;

    // The runtime and the agent may die: the pod does not notice.
    let before = status["containerStatuses"][0]["containerID"].clone();
    world.cancel.cancel();
    agent.await.expect("a task").expect("a clean end");
    let agent = world.start();
    world.node_is_ready().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = world.status("a ready pod", is_ready).await;
    assert_eq!(status["containerStatuses"][0]["containerID"], before);

    let ip = status["podIP"].as_str().expect("an address").to_owned();
    assert!(tokio::net::TcpStream::connect((ip.as_str(), 8080)).await.is_ok());
    world.api.delete_pod(POD, 2);
    eventually("the pod to be gone", || world.api.get(POD).is_none()).await;
    let events = world.api.list("/api/v1/namespaces/default/events/");
    let reasons: Vec<&str> = events.iter().filter_map(|e| e["reason"].as_str()).collect();
    for reason in ["Pulled", "Created", "Started", "Killing"] {
        assert!(reasons.contains(&reason), "{reason} in {reasons:?}");
    }
    let pods = std::fs::read_dir(world.config.pods_dir())
        .expect("a folder")
        .count();
    assert_eq!(pods, 0);
    world.cancel.cancel();
    agent.await.expect("a task").expect("a clean end");
}

async fn endpoints_answer() {
    let node = "127.0.0.1:10250";
    let logs = streams::get(node, "/containerLogs/default/p/w%65b?tailLines=1").await;
    assert!(
        logs.starts_with("HTTP/1.1 200") && logs.contains("hi p from p") && !logs.contains("prepared"),
        "{logs}"
    );
    let previous = streams::get(node, "/containerLogs/default/p/crash?previous=true").await;
    assert!(previous.starts_with("HTTP/1.1 200"), "{previous}");
    let path = "/exec/default/p/web?command=sh&command=-c&command=cat%3B+echo+bad+%3E%262%3B+exit+3&input=1&output=1&error=1";
    let (stdout, stderr, status) = streams::exec(node, path, b"through and through").await;
    assert_eq!(
        (stdout.as_str(), stderr.as_str()),
        ("through and through", "bad\n")
    );
    assert_eq!(status["details"]["causes"][0]["message"], "3", "{status}");
    let path =
        "/exec/default/p/web?command=sh&command=-c&command=test+-t+0+%26%26+stty+size&input=1&output=1&tty=1";
    let (stdout, _, status) = streams::exec(node, path, b"").await;
    assert_eq!(status["status"], "Success", "{stdout} {status}");
    let request = b"GET / HTTP/1.0\r\n\r\n";
    let (answer, error) = streams::port_forward(node, "/portForward/default/p", 8080, request).await;
    assert!(
        answer.contains("200 OK") && answer.ends_with("hello\n"),
        "{answer}"
    );
    assert_eq!(error, "");
    let (_, error) = streams::port_forward(node, "/portForward/default/p", 8081, request).await;
    assert!(error.contains("8081"), "{error}");
    let summary = streams::get(node, "/stats/summary").await;
    assert!(
        summary.contains("workingSetBytes") && summary.contains("\"name\":\"web\""),
        "{summary}"
    );
}
