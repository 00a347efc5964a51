//! The whole scheduler against API servers on loopback (see `test_api`).

use kubeclient::{ClientConfig, Credentials, client};
use scheduler_server::{Scheduler, SchedulerConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use support::{Env, Random};
use test_api::{Api, Faults, Server};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

fn env(seed: u64) -> Env {
    Env {
        random: Random::seeded(seed),
        ..Env::production()
    }
}

struct Running {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

fn start(env: Env, address: &str) -> Running {
    let config = ClientConfig {
        servers: vec![address.to_owned()],
        ca_pem: None,
        credentials: Credentials::Anonymous,
        user_agent: "test".to_owned(),
    };
    let client = client(&env, &config).expect("a client");
    let cancel = CancellationToken::new();
    let scheduler = Scheduler::new(SchedulerConfig::new(client, "test"), env);
    let task = tokio::spawn(scheduler.run(cancel.clone()));
    Running { cancel, task }
}

fn node(name: &str, cpu: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": "64Gi", "pods": "110"}}})
}

fn pod(name: &str, cpu: &str, priority: i32) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"},
        "spec": {"schedulerName": "default-scheduler", "priority": priority,
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": "Pending"}})
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "not in time: {what}");
}

fn bound(api: &Api) -> usize {
    api.list("pods")
        .iter()
        .filter(|pod| pod["spec"]["nodeName"].is_string())
        .count()
}

fn per_node(api: &Api) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for pod in api.list("pods") {
        if let Some(node) = pod["spec"]["nodeName"].as_str() {
            *counts.entry(node.to_owned()).or_insert(0) += 1;
        }
    }
    counts
}

fn has_event(api: &Api, reason: &str, pod: &str) -> bool {
    api.list("events")
        .iter()
        .any(|event| event["reason"] == reason && event["involvedObject"]["name"] == pod)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_bound_told_why_not_and_woken_when_room_appears() {
    let env = env(1);
    let api = Api::with_events(&env);
    let server = Server::start(&api, &env, Faults::NONE).await;
    api.create("nodes", node("n1", "2"));
    for index in 0..3 {
        api.create("pods", pod(&format!("p{index}"), "1", 0));
    }
    let running = start(env, &server.address);
    until("two of three bound", || bound(&api) == 2).await;
    let waiting = || {
        api.list("pods").into_iter().find(|pod| {
            pod["spec"]["nodeName"].is_null() && pod["status"]["conditions"][0]["reason"] == "Unschedulable"
        })
    };
    until("the third is told why not", || waiting().is_some()).await;
    let third = waiting().expect("just seen");
    assert_eq!(
        third["status"]["conditions"][0]["message"],
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
         1 No preemption victims found for incoming pod."
    );
    let name = third["metadata"]["name"].as_str().expect("a name").to_owned();
    until("its event", || has_event(&api, "FailedScheduling", &name)).await;
    api.create("nodes", node("n2", "2"));
    until("the third bound to the new node", || bound(&api) == 3).await;
    until("its other event", || has_event(&api, "Scheduled", &name)).await;
    running.cancel.cancel();
    running.task.await.expect("no panic");
    let lease = api
        .get("leases", "kube-system", "kube-scheduler")
        .expect("the lease");
    assert_eq!(lease["spec"]["holderIdentity"], "", "released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_survives_the_loss_of_a_leader_and_of_answers() {
    let (first_env, nodes, pods) = (env(1), 10, 300);
    let api = Api::with_events(&first_env);
    api.judge(|write| {
        let node = |pod: Option<&Value>| pod.map_or(Value::Null, |pod| pod["spec"]["nodeName"].clone());
        let (old, new) = (node(write.old), node(write.new));
        match old.is_null() || old == new {
            true => Ok(()),
            false => Err(format!("{} moves from {old} to {new}", write.place.name)),
        }
    });
    // The first leader has a server of its own, which dies in the middle.
    let lossy = Faults {
        lost_answers: 20,
        ..Faults::NONE
    };
    let own = Server::start(&api, &first_env, lossy).await;
    let shared = Server::start(&api, &first_env, lossy).await;
    for index in 0..nodes {
        api.create("nodes", node(&format!("n{index}"), "30"));
    }
    let _first = start(first_env, &own.address);
    until("the first leads", || {
        api.get("leases", "kube-system", "kube-scheduler").is_some()
    })
    .await;
    let _second = start(env(2), &shared.address);
    for index in 0..pods / 2 {
        api.create("pods", pod(&format!("a{index}"), "1", 0));
    }
    until("some are bound", || bound(&api) >= 40).await;
    drop(own);
    for index in 0..pods / 2 {
        api.create("pods", pod(&format!("b{index}"), "1", 0));
    }
    until("all are bound", || bound(&api) == pods).await;
    assert_eq!(api.broken(), None);
    let counts = per_node(&api);
    assert!(
        counts.values().all(|&count| count <= 30),
        "over-committed: {counts:?}"
    );
    assert_eq!(counts.len(), nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_more_important_pod_takes_the_place_of_a_lesser_one() {
    let env = env(1);
    let api = Api::with_events(&env);
    let server = Server::start(&api, &env, Faults::NONE).await;
    api.create("nodes", node("n1", "2"));
    api.create("pods", pod("lesser", "2", 1));
    let _running = start(env, &server.address);
    until("the lesser is bound", || bound(&api) == 1).await;
    api.create("pods", pod("greater", "2", 10));
    let leaves = || {
        let lesser = api.get("pods", "default", "lesser");
        lesser.is_some_and(|pod| pod["metadata"]["deletionTimestamp"].is_string())
    };
    until("the lesser has to go", leaves).await;
    api.confirm("default", "lesser");
    until("the greater is bound instead", || {
        api.get("pods", "default", "lesser").is_none()
            && api
                .get("pods", "default", "greater")
                .is_some_and(|pod| pod["spec"]["nodeName"] == "n1")
    })
    .await;
    until("the lesser's event", || has_event(&api, "Preempted", "lesser")).await;
}
