//! A runtime in memory: containers "run" until their scripted end, nothing is ever slow or lost unless the
//! simulation says so.
//!
//! What a container does is said by its image: `fake/exit-<code>-after-<seconds>` ends by itself, anything
//! else runs until it is stopped. State survives the agent, as a real runtime's does: keep the `Arc`.

use super::{
    ContainerUsage, ExecOutput, ImageInfo, PodSummary, RegistryAuth, Result, Runtime, RuntimeError,
    RuntimeHealth, StreamOptions,
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use nodeagent_core::{
    ContainerConfig, ContainerState, LinuxResources, ObservedContainer, ObservedSandbox, PodObservation,
    SandboxConfig, annotation,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::WallClock;

/// What the runtime is told to do beside obeying.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FakeBehaviour {
    /// Every call fails as if the runtime were down.
    pub down: bool,
    /// Exec probes fail.
    pub exec_fails: bool,
    /// How long creating a sandbox and starting a container takes.
    pub latency: Duration,
    /// How long a container takes to end once it is asked to, at most the time it is given.
    pub stop: Duration,
}

struct FakePod {
    namespace: String,
    name: String,
    observation: PodObservation,
}

#[derive(Default)]
struct State {
    behaviour: FakeBehaviour,
    next_id: u64,
    next_ip: u32,
    pods: BTreeMap<String, FakePod>,
    /// When a container ends by itself, and with which code.
    ends: BTreeMap<String, (Timestamp, i32)>,
}

pub struct FakeRuntime {
    clock: Arc<dyn WallClock>,
    /// The first three octets of pod addresses, e.g. `10.244.1`.
    pod_prefix: String,
    state: Mutex<State>,
}

impl FakeRuntime {
    pub fn new(clock: Arc<dyn WallClock>, pod_prefix: &str) -> Self {
        Self {
            clock,
            pod_prefix: pod_prefix.to_owned(),
            state: Mutex::new(State::default()),
        }
    }

    pub fn set_behaviour(&self, behaviour: FakeBehaviour) {
        self.locked().behaviour = behaviour;
    }

    /// A node that loses power: nothing runs any more.
    pub fn crash(&self) {
        let now = self.clock.now();
        let mut state = self.locked();
        for pod in state.pods.values_mut() {
            for sandbox in &mut pod.observation.sandboxes {
                sandbox.ready = false;
            }
            for container in &mut pod.observation.containers {
                end(container, now, 255);
            }
        }
        state.ends.clear();
    }

    /// (namespace, name, container) of everything that runs.
    pub fn running(&self) -> Vec<(String, String, String)> {
        let now = self.clock.now();
        let mut state = self.locked();
        state.settle(now);
        let pods = state.pods.values();
        pods.flat_map(|pod| {
            let running = pod.observation.containers.iter().filter(|c| c.is_running());
            running.map(|c| (pod.namespace.clone(), pod.name.clone(), c.name.clone()))
        })
        .collect()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.locked();
        if state.behaviour.down {
            return Err(RuntimeError::Unavailable("fake runtime is down".to_owned()));
        }
        state.settle(self.clock.now());
        Ok(state)
    }

    async fn delay(&self) {
        let latency = self.locked().behaviour.latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }
}

impl State {
    fn settle(&mut self, now: Timestamp) {
        let due: Vec<(String, (Timestamp, i32))> = self
            .ends
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(id, end)| (id.clone(), *end))
            .collect();
        for (id, (at, code)) in due {
            self.ends.remove(&id);
            if let Ok(container) = self.container(&id) {
                end(container, at, code);
            }
        }
    }

    fn container(&mut self, id: &str) -> Result<&mut ObservedContainer> {
        self.pods
            .values_mut()
            .flat_map(|p| &mut p.observation.containers)
            .find(|c| c.id == id)
            .ok_or_else(|| RuntimeError::NotFound(format!("container {id}")))
    }

    fn id(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        format!("{prefix}{:08x}", self.next_id)
    }
}

fn end(container: &mut ObservedContainer, at: Timestamp, code: i32) {
    if container.state == ContainerState::Running {
        container.state = ContainerState::Exited;
        container.exit_code = code;
        container.finished_at = Some(at);
    }
}

/// `fake/exit-3-after-10` → (3, 10 s)
fn script(image: &str) -> Option<(i32, SignedDuration)> {
    let (_, rest) = image.split_once("exit-")?;
    let (code, seconds) = rest.split_once("-after-")?;
    let seconds = seconds.split([':', '@']).next()?;
    Some((
        code.parse().ok()?,
        SignedDuration::from_secs(seconds.parse().ok()?),
    ))
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn health(&self) -> Result<RuntimeHealth> {
        let _state = self.enter()?;
        Ok(RuntimeHealth {
            name: "fake".to_owned(),
            version: "1".to_owned(),
            network_ready: true,
            message: String::new(),
        })
    }

    async fn list_pods(&self) -> Result<BTreeMap<String, PodSummary>> {
        let state = self.enter()?;
        let summary = |pod: &FakePod| PodSummary {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            sandboxes: pod
                .observation
                .sandboxes
                .iter()
                .map(|s| (s.id.clone(), s.ready))
                .collect(),
            containers: pod
                .observation
                .containers
                .iter()
                .map(|c| (c.id.clone(), c.state))
                .collect(),
        };
        let pods = state.pods.iter().filter(|(_, p)| !p.observation.is_empty());
        Ok(pods.map(|(uid, pod)| (uid.clone(), summary(pod))).collect())
    }

    async fn observe(&self, pod_uid: &str) -> Result<PodObservation> {
        let state = self.enter()?;
        let pod = state.pods.get(pod_uid);
        Ok(pod.map(|p| p.observation.clone()).unwrap_or_default())
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<String> {
        self.delay().await;
        let now = self.clock.now();
        let mut state = self.enter()?;
        let id = state.id("s");
        state.next_ip = state.next_ip % 250 + 1;
        let ip = format!("{}.{}", self.pod_prefix, state.next_ip + 1);
        let pod = state.pods.entry(config.uid.clone()).or_insert_with(|| FakePod {
            namespace: config.namespace.clone(),
            name: config.name.clone(),
            observation: PodObservation::default(),
        });
        pod.observation.sandboxes.push(ObservedSandbox {
            id: id.clone(),
            attempt: config.attempt,
            ready: true,
            created_at: now,
            ips: vec![ip],
        });
        Ok(id)
    }

    async fn stop_sandbox(&self, id: &str) -> Result<()> {
        let now = self.clock.now();
        let mut state = self.enter()?;
        for pod in state.pods.values_mut() {
            for sandbox in pod.observation.sandboxes.iter_mut().filter(|s| s.id == id) {
                sandbox.ready = false;
            }
            let inside = pod.observation.containers.iter_mut();
            inside
                .filter(|c| c.sandbox_id == id)
                .for_each(|c| end(c, now, 137));
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &str) -> Result<()> {
        let mut state = self.enter()?;
        for pod in state.pods.values_mut() {
            pod.observation.sandboxes.retain(|s| s.id != id);
            pod.observation.containers.retain(|c| c.sandbox_id != id);
        }
        state.pods.retain(|_, pod| !pod.observation.is_empty());
        Ok(())
    }

    async fn sandbox_pid(&self, id: &str) -> Result<u32> {
        Err(RuntimeError::NotFound(format!("sandbox {id} has no process")))
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: &ContainerConfig,
        sandbox: &SandboxConfig,
    ) -> Result<String> {
        let now = self.clock.now();
        let mut state = self.enter()?;
        let id = state.id("c");
        let pod = state
            .pods
            .get_mut(&sandbox.uid)
            .filter(|p| {
                p.observation
                    .sandboxes
                    .iter()
                    .any(|s| s.id == sandbox_id && s.ready)
            })
            .ok_or_else(|| RuntimeError::NotFound(format!("sandbox {sandbox_id}")))?;
        pod.observation.containers.push(ObservedContainer {
            id: id.clone(),
            sandbox_id: sandbox_id.to_owned(),
            name: config.name.clone(),
            attempt: config.attempt,
            state: ContainerState::Created,
            created_at: now,
            started_at: None,
            finished_at: None,
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            image: config.image_name.clone(),
            image_id: config.image.clone(),
            spec_hash: config
                .annotations
                .get(annotation::HASH)
                .cloned()
                .unwrap_or_default(),
        });
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.delay().await;
        let now = self.clock.now();
        let mut state = self.enter()?;
        let container = state.container(id)?;
        container.state = ContainerState::Running;
        container.started_at = Some(now);
        if let Some((code, after)) = script(&container.image) {
            let at = now.checked_add(after).unwrap_or(now);
            state.ends.insert(id.to_owned(), (at, code));
        }
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<()> {
        let grace = Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0));
        let stop = self.enter()?.behaviour.stop.min(grace);
        if !stop.is_zero() {
            tokio::time::sleep(stop).await;
        }
        let now = self.clock.now();
        let mut state = self.enter()?;
        if let Ok(container) = state.container(id) {
            end(container, now, 143);
        }
        state.ends.remove(id);
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let mut state = self.enter()?;
        for pod in state.pods.values_mut() {
            pod.observation.containers.retain(|c| c.id != id);
        }
        Ok(())
    }

    async fn update_resources(&self, id: &str, _resources: &LinuxResources) -> Result<()> {
        self.enter()?.container(id).map(|_| ())
    }

    async fn log_path(&self, id: &str) -> Result<String> {
        self.enter()?.container(id)?;
        Ok(format!("/fake/{id}.log"))
    }

    async fn reopen_log(&self, _id: &str) -> Result<()> {
        Ok(())
    }

    async fn exec(&self, id: &str, command: &[String], _timeout: Duration) -> Result<ExecOutput> {
        let mut state = self.enter()?;
        let fails = state.behaviour.exec_fails;
        let container = state.container(id)?;
        if container.state != ContainerState::Running {
            return Err(RuntimeError::Failed(format!("container {id} is not running")));
        }
        Ok(ExecOutput {
            stdout: command.join(" ").into_bytes(),
            stderr: Vec::new(),
            exit_code: i32::from(fails),
        })
    }

    async fn exec_url(&self, _id: &str, _command: &[String], _options: &StreamOptions) -> Result<String> {
        Err(RuntimeError::Failed("streaming is not simulated".to_owned()))
    }

    async fn attach_url(&self, _id: &str, _options: &StreamOptions) -> Result<String> {
        Err(RuntimeError::Failed("streaming is not simulated".to_owned()))
    }

    async fn image(&self, name: &str) -> Result<Option<ImageInfo>> {
        let _state = self.enter()?;
        // Every image is there, except those that say they are not.
        if name.contains("missing") {
            return Ok(None);
        }
        Ok(Some(ImageInfo {
            id: format!("sha256:{name}"),
            tags: vec![name.to_owned()],
            ..ImageInfo::default()
        }))
    }

    async fn pull_image(&self, name: &str, _auth: Option<RegistryAuth>) -> Result<String> {
        self.delay().await;
        let _state = self.enter()?;
        if name.contains("missing") {
            return Err(RuntimeError::NotFound(format!("{name}: not found")));
        }
        Ok(format!("sha256:{name}"))
    }

    async fn list_images(&self) -> Result<Vec<ImageInfo>> {
        self.enter().map(|_| Vec::new())
    }

    async fn remove_image(&self, _id: &str) -> Result<()> {
        Ok(())
    }

    async fn usage(&self) -> Result<Vec<ContainerUsage>> {
        self.enter().map(|_| Vec::new())
    }
}
