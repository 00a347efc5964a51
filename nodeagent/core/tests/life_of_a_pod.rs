//! Stories: a pod, a pretended runtime that does as it is told, and what the plan asks for on the way.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use nodeagent_core::{
    Action, ContainerState, ObservedContainer, ObservedSandbox, Plan, PodMemory, PodModel, PodObservation,
    StatusInputs, StopCause, Waiting, plan,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// One pod on a node whose runtime obeys at once, so that stories are about the plan alone.
struct Story {
    pod: Value,
    observed: PodObservation,
    memory: PodMemory,
    now: Timestamp,
    status: PodStatus,
}

impl Story {
    fn new(spec: Value) -> Self {
        Self {
            pod: json!({
                "metadata": {"name": "p", "namespace": "d", "uid": "u", "generation": 1},
                "spec": spec,
            }),
            observed: PodObservation::default(),
            memory: PodMemory::default(),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            status: PodStatus::default(),
        }
    }

    fn model(&self) -> PodModel {
        let mut pod: Pod = serde_json::from_value(self.pod.clone()).expect("a pod");
        pod.status = Some(self.status.clone());
        PodModel::new(Arc::new(pod))
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn step(&mut self) -> Plan {
        let inputs = StatusInputs {
            host_ips: vec!["10.200.0.11".to_owned()],
            runtime_name: "containerd".to_owned(),
        };
        let plan = plan(&self.model(), &self.observed, &mut self.memory, &inputs, self.now);
        self.status = plan.status.clone();
        plan
    }

    /// Does what the plan asks until it asks for nothing; gives what was asked as short words.
    fn settle(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..30 {
            let actions = self.step().actions;
            if actions.is_empty() {
                return said;
            }
            for action in actions {
                said.push(self.perform(action));
            }
        }
        panic!("the plan never comes to rest: {said:?}");
    }

    fn perform(&mut self, action: Action) -> String {
        match action {
            Action::CreateSandbox { attempt } => {
                self.memory.busy.remove("sandbox");
                self.observed.sandboxes.push(ObservedSandbox {
                    id: format!("s{attempt}"),
                    attempt,
                    ready: true,
                    created_at: self.now,
                    ips: vec!["10.244.1.5".to_owned()],
                });
                format!("sandbox {attempt}")
            }
            Action::StartContainer {
                name,
                attempt,
                sandbox_id,
            } => {
                self.memory.starting.remove(&name);
                let hash = self
                    .model()
                    .container(&name)
                    .map(|c| c.hash())
                    .unwrap_or_default();
                self.observed.containers.push(ObservedContainer {
                    id: format!("{name}-{attempt}"),
                    sandbox_id,
                    attempt,
                    state: ContainerState::Running,
                    created_at: self.now,
                    started_at: Some(self.now),
                    finished_at: None,
                    exit_code: 0,
                    reason: String::new(),
                    message: String::new(),
                    image: "busybox:1".to_owned(),
                    image_id: "sha256:1".to_owned(),
                    spec_hash: hash,
                    name: name.clone(),
                });
                format!("start {name} {attempt}")
            }
            Action::StopContainer {
                id, grace_seconds, ..
            } => {
                self.exit(&id, 137);
                format!("stop {id} {grace_seconds}")
            }
            Action::Resize { id, .. } => format!("resize {id}"),
            Action::StopSandbox { id } => {
                self.memory.busy.remove(&id);
                for sandbox in self.observed.sandboxes.iter_mut().filter(|s| s.id == id) {
                    sandbox.ready = false;
                }
                format!("stop sandbox {id}")
            }
            Action::RemoveContainer { id } => {
                self.memory.busy.remove(&id);
                self.observed.containers.retain(|c| c.id != id);
                format!("remove {id}")
            }
            Action::RemoveSandbox { id } => {
                self.memory.busy.remove(&id);
                self.observed.sandboxes.retain(|s| s.id != id);
                format!("remove sandbox {id}")
            }
            Action::Finalize => "finalize".to_owned(),
        }
    }

    fn exit(&mut self, id: &str, code: i32) {
        let now = self.now;
        let container = self.observed.containers.iter_mut().find(|c| c.id == id);
        let container = container.expect("a container");
        container.state = ContainerState::Exited;
        container.exit_code = code;
        container.finished_at = Some(now);
    }

    fn phase(&self) -> &str {
        self.status.phase.as_deref().unwrap_or_default()
    }

    fn condition(&self, type_: &str) -> &str {
        let conditions = self.status.conditions.iter().flatten();
        conditions
            .filter(|c| c.type_ == type_)
            .map(|c| c.status.as_str())
            .next()
            .unwrap_or("absent")
    }

    fn waiting_reason(&self, index: usize) -> Option<String> {
        let status = &self.status.container_statuses.as_ref()?[index];
        status.state.as_ref()?.waiting.as_ref()?.reason.clone()
    }
}

fn one(extra: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "busybox:1"}]});
    if let (Some(spec), Value::Object(extra)) = (spec.as_object_mut(), extra) {
        spec.extend(extra);
    }
    spec
}

#[test]
fn a_pod_gets_a_sandbox_and_then_its_containers_and_is_ready() {
    let mut story = Story::new(one(json!({})));
    assert_eq!(story.step().status.phase.as_deref(), Some("Pending"));
    story.memory = PodMemory::default();
    assert_eq!(story.settle(), ["sandbox 0", "start c 0"]);
    assert_eq!(story.phase(), "Running");
    for condition in [
        "Ready",
        "ContainersReady",
        "Initialized",
        "PodReadyToStartContainers",
    ] {
        assert_eq!(story.condition(condition), "True", "{condition}");
    }
    assert_eq!(story.status.pod_ip.as_deref(), Some("10.244.1.5"));
    assert_eq!(story.status.host_ip.as_deref(), Some("10.200.0.11"));
    assert_eq!(story.status.qos_class.as_deref(), Some("BestEffort"));
}

#[test]
fn an_agent_that_lost_its_memory_touches_nothing_that_runs() {
    let mut story = Story::new(one(json!({})));
    story.settle();
    let before = story.status.clone();
    story.memory = PodMemory::default();
    story.pass(100);
    assert!(story.settle().is_empty());
    assert_eq!(story.status, before);
}

#[test]
fn a_crashing_container_backs_off_from_ten_seconds_to_five_minutes() {
    let mut story = Story::new(one(json!({})));
    story.settle();
    story.exit("c-0", 1);
    assert_eq!(story.settle(), ["start c 1"], "the first restart is at once");
    let mut waits = Vec::new();
    for attempt in 1..8 {
        story.exit(&format!("c-{attempt}"), 1);
        let plan = story.step();
        assert!(
            plan.actions
                .iter()
                .all(|a| !matches!(a, Action::StartContainer { .. }))
        );
        assert_eq!(story.waiting_reason(0).as_deref(), Some("CrashLoopBackOff"));
        assert_eq!(story.phase(), "Running");
        let wait = plan.wake_after.expect("a wake-up").as_secs();
        waits.push(wait);
        story.pass(wait);
        let said = story.settle();
        assert!(said.contains(&format!("start c {}", attempt + 1)), "{said:?}");
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    // One dead attempt is kept for `kubectl logs --previous`.
    assert_eq!(story.observed.containers.len(), 2);
    story.pass(601);
    story.exit("c-8", 1);
    assert_eq!(
        story.settle()[0],
        "start c 9",
        "ten good minutes end the back-off"
    );
}

#[test]
fn init_containers_run_one_after_the_other_and_sidecars_stay() {
    let mut story = Story::new(one(json!({"initContainers": [
        {"name": "i1", "image": "b"},
        {"name": "side", "image": "b", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}},
        {"name": "i2", "image": "b"},
    ]})));
    assert_eq!(story.settle(), ["sandbox 0", "start i1 0"]);
    assert_eq!(
        (story.phase(), story.condition("Initialized")),
        ("Pending", "False")
    );
    assert_eq!(story.waiting_reason(0).as_deref(), Some("PodInitializing"));
    story.exit("i1-0", 0);
    assert_eq!(story.settle(), ["start side 0"]);
    story.memory.container("side").startup = Some(true);
    assert_eq!(story.settle(), ["start i2 0"]);
    story.exit("i2-0", 0);
    assert_eq!(story.settle(), ["start c 0"]);
    assert_eq!((story.phase(), story.condition("Ready")), ("Running", "True"));
    // The sidecar restarts for itself; init containers do not run again.
    story.exit("side-0", 0);
    assert_eq!(story.settle(), ["start side 1"]);
    // At the end it goes last, with what is left of the grace period.
    story.pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:30Z");
    story.pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let actions = story.step().actions;
    assert_eq!(actions.len(), 1);
    assert!(matches!(&actions[0], Action::StopContainer { name, .. } if name == "c"));
    story.pass(10);
    story.exit("c-0", 0);
    assert_eq!(
        story.settle(),
        [
            "stop side-1 20",
            "stop sandbox s0",
            "remove i1-0",
            "remove side-0",
            "remove i2-0",
            "remove c-0",
            "remove side-1",
            "remove sandbox s0",
            "finalize"
        ]
    );
}

#[test]
fn a_job_pod_ends_and_its_containers_are_kept_for_their_logs() {
    let mut story = Story::new(one(json!({"restartPolicy": "OnFailure"})));
    story.settle();
    story.exit("c-0", 3);
    assert_eq!(story.settle(), ["start c 1"]);
    story.exit("c-1", 0);
    assert_eq!(story.settle(), ["stop sandbox s0"]);
    assert_eq!((story.phase(), story.condition("Ready")), ("Succeeded", "False"));
    assert_eq!(story.observed.containers.len(), 2);
    let mut failed = Story::new(one(json!({"restartPolicy": "Never"})));
    failed.settle();
    failed.exit("c-0", 3);
    failed.settle();
    assert_eq!(failed.phase(), "Failed");
}

#[test]
fn a_failed_liveness_probe_restarts_and_readiness_only_reports() {
    let mut story = Story::new(json!({"containers": [{
        "name": "c", "image": "b",
        "livenessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 3},
        "readinessProbe": {"tcpSocket": {"port": 1}},
    }]}));
    story.settle();
    assert_eq!(story.condition("Ready"), "False");
    story.memory.container("c").ready = Some(true);
    assert!(story.settle().is_empty());
    assert_eq!(story.condition("Ready"), "True");
    story.memory.container("c").live = Some(false);
    let actions = story.step().actions;
    assert_eq!(
        actions,
        [Action::StopContainer {
            id: "c-0".to_owned(),
            name: "c".to_owned(),
            grace_seconds: 3,
            cause: StopCause::LivenessFailed
        }]
    );
    assert!(story.step().actions.is_empty(), "one stop is enough");
    story.exit("c-0", 137);
    assert_eq!(story.settle(), ["start c 1"]);
    assert_eq!(story.condition("Ready"), "False");
}

#[test]
fn a_lost_sandbox_is_replaced_and_everything_starts_again_in_it() {
    let mut story = Story::new(one(json!({"initContainers": [{"name": "i", "image": "b"}]})));
    story.settle();
    story.exit("i-0", 0);
    story.settle();
    story.observed.sandboxes[0].ready = false;
    story.exit("c-0", 255);
    assert_eq!(story.settle(), ["sandbox 1", "start i 1"]);
    story.exit("i-1", 0);
    let said = story.settle();
    assert!(said.contains(&"start c 1".to_owned()), "{said:?}");
}

#[test]
fn a_second_deletion_with_a_shorter_grace_hurries_the_stop() {
    let mut story = Story::new(one(json!({})));
    story.settle();
    story.pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:30Z");
    story.pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    assert_eq!(story.step().actions.len(), 1);
    story.pass(2);
    assert!(story.step().actions.is_empty());
    story.pod["metadata"]["deletionGracePeriodSeconds"] = json!(1);
    assert!(matches!(
        story.step().actions[..],
        [Action::StopContainer { grace_seconds: 1, .. }]
    ));
}

#[test]
fn a_start_that_failed_is_shown_and_tried_again_later() {
    let mut story = Story::new(one(json!({})));
    let plan = story.step();
    assert_eq!(plan.actions, [Action::CreateSandbox { attempt: 0 }]);
    story.perform(plan.actions[0].clone());
    assert_eq!(story.step().actions.len(), 1);
    story.memory.starting.clear();
    let retry_at = story.now + SignedDuration::from_secs(10);
    story.memory.container("c").waiting = Some(Waiting {
        reason: "ImagePullBackOff".to_owned(),
        message: "Back-off pulling image \"busybox:1\"".to_owned(),
        retry_at,
    });
    let plan = story.step();
    assert!(plan.actions.is_empty());
    assert_eq!(plan.wake_after, Some(SignedDuration::from_secs(10)));
    assert_eq!(story.waiting_reason(0).as_deref(), Some("ImagePullBackOff"));
    assert_eq!(story.phase(), "Pending");
    story.pass(10);
    assert_eq!(story.settle(), ["start c 0"]);
}

#[test]
fn a_pod_past_its_deadline_fails() {
    let mut story = Story::new(one(json!({"activeDeadlineSeconds": 60})));
    story.settle();
    assert_eq!(story.step().wake_after, Some(SignedDuration::from_secs(60)));
    story.pass(61);
    assert_eq!(story.settle(), ["stop c-0 30", "stop sandbox s0"]);
    assert_eq!(story.phase(), "Failed");
    assert_eq!(story.status.reason.as_deref(), Some("DeadlineExceeded"));
}

#[test]
fn a_pod_without_an_object_is_taken_away_whole() {
    let mut story = Story::new(one(json!({})));
    story.settle();
    story.memory = PodMemory {
        removed: true,
        ..PodMemory::default()
    };
    let said = story.settle();
    assert_eq!(said.last().map(String::as_str), Some("finalize"));
    assert!(story.observed.is_empty());
}

#[test]
fn resources_changed_in_place_are_applied_without_a_restart() {
    let mut story = Story::new(one(json!({})));
    story.settle();
    story.pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
    assert_eq!(story.settle(), ["resize c-0"]);
    assert!(story.settle().is_empty());
}
