//! One `ContainerStatus` for each container of the pod.

use super::StatusInputs;
use crate::lifecycle::PodMemory;
use crate::observation::{ContainerState as Observed, ObservedContainer, PodObservation};
use crate::pod_model::{ContainerKind, PodContainer, PodModel};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) struct Builder<'a> {
    pub model: &'a PodModel,
    pub observed: &'a PodObservation,
    pub memory: &'a PodMemory,
    pub inputs: &'a StatusInputs,
    pub now: Timestamp,
}

impl Builder<'_> {
    pub fn build(&self, wanted: impl Fn(ContainerKind) -> bool) -> Vec<ContainerStatus> {
        self.model
            .containers
            .iter()
            .filter(|c| wanted(c.kind))
            .map(|c| self.status(c))
            .collect()
    }

    fn status(&self, container: &PodContainer) -> ContainerStatus {
        let name = container.name();
        let old = self.reported(container);
        let Some(latest) = self.observed.latest(name) else {
            return self.never_observed(container, old);
        };
        let ended = (latest.state == Observed::Exited).then(|| self.terminated(latest));
        let mut last = self.observed.previous(name).map(|c| self.terminated(c));
        let mut state = match latest.state {
            Observed::Running | Observed::Unknown => running(latest),
            Observed::Exited => terminated_state(ended.clone()),
            Observed::Created => waiting(self.waiting_reason(container), None),
        };
        if !latest.is_running()
            && let Some((reason, message)) = self.held_back(container, latest)
        {
            state = waiting(&reason, Some(message));
            last = ended.or(last);
        }
        if last.is_none() {
            last = old
                .as_ref()
                .filter(|o| o.restart_count >= to_i32(latest.attempt) && latest.attempt > 0)
                .and_then(|o| o.last_state.as_ref()?.terminated.clone());
        }
        let (started, ready) = self.started_and_ready(container, latest);
        ContainerStatus {
            name: name.to_owned(),
            image: image_name(container, latest),
            image_id: latest.image_id.clone(),
            container_id: Some(self.container_id(latest)),
            restart_count: to_i32(latest.attempt),
            ready,
            started: Some(started),
            state: Some(state),
            last_state: Some(ContainerState {
                terminated: last,
                ..ContainerState::default()
            }),
            resources: container.spec.resources.clone().filter(|_| latest.is_running()),
            allocated_resources: container
                .spec
                .resources
                .as_ref()
                .and_then(|r| r.requests.clone())
                .filter(|_| latest.is_running()),
            ..ContainerStatus::default()
        }
    }

    fn never_observed(&self, container: &PodContainer, old: Option<ContainerStatus>) -> ContainerStatus {
        if let Some(old) = &old
            && old.state.as_ref().is_some_and(|s| s.terminated.is_some())
        {
            // The runtime lost it (a node that rebooted): what was reported stays.
            return ContainerStatus {
                ready: container.kind == ContainerKind::Init && old.ready,
                ..old.clone()
            };
        }
        let state = match self
            .memory
            .containers
            .get(container.name())
            .and_then(|m| m.waiting.as_ref())
        {
            Some(w) if !self.memory.is_terminating(self.model) => waiting(&w.reason, Some(w.message.clone())),
            _ => waiting(self.waiting_reason(container), None),
        };
        ContainerStatus {
            name: container.name().to_owned(),
            image: container.spec.image.clone().unwrap_or_default(),
            image_id: String::new(),
            ready: false,
            started: Some(false),
            restart_count: old.map_or(0, |o| o.restart_count),
            state: Some(state),
            last_state: Some(ContainerState::default()),
            ..ContainerStatus::default()
        }
    }

    /// Why a container that ended does not run again yet.
    fn held_back(&self, container: &PodContainer, latest: &ObservedContainer) -> Option<(String, String)> {
        if self.memory.is_terminating(self.model) {
            return None;
        }
        let restarts = latest.state != Observed::Exited
            || container.restarts_after(latest.exit_code, self.model.restart_policy);
        let memory = self.memory.containers.get(container.name())?;
        if !restarts {
            return None;
        }
        if let Some(w) = &memory.waiting {
            return Some((w.reason.clone(), w.message.clone()));
        }
        (latest.state == Observed::Exited && memory.crash.until(latest) > self.now).then(|| {
            let message = format!(
                "back-off {} restarting failed container={} pod={}_{}({})",
                short_duration(memory.crash.delay().as_secs()),
                container.name(),
                self.model.name,
                self.model.namespace,
                self.model.uid,
            );
            ("CrashLoopBackOff".to_owned(), message)
        })
    }

    fn started_and_ready(&self, container: &PodContainer, latest: &ObservedContainer) -> (bool, bool) {
        if container.kind == ContainerKind::Init {
            let done = latest.state == Observed::Exited && latest.exit_code == 0;
            return (latest.is_running(), done);
        }
        if !latest.is_running() || self.memory.starting.contains(container.name()) {
            return (false, false);
        }
        let (startup, readiness, _) = self.memory.probes(container.name(), &latest.id);
        let started = container.spec.startup_probe.is_none() || startup == Some(true);
        let ready = container.kind != ContainerKind::Ephemeral
            && started
            && (container.spec.readiness_probe.is_none() || readiness == Some(true));
        (started, ready)
    }

    fn terminated(&self, container: &ObservedContainer) -> ContainerStateTerminated {
        let message = self
            .memory
            .containers
            .get(&container.name)
            .and_then(|m| m.termination_messages.get(&container.id).cloned())
            .filter(|m| !m.is_empty())
            .or_else(|| (!container.message.is_empty()).then(|| container.message.clone()));
        let reason = match (container.reason.as_str(), container.exit_code) {
            ("", 0) => "Completed",
            ("", _) => "Error",
            (reason, _) => reason,
        };
        ContainerStateTerminated {
            container_id: Some(self.container_id(container)),
            exit_code: container.exit_code,
            reason: Some(reason.to_owned()),
            message,
            started_at: container.started_at.map(Time),
            finished_at: container.finished_at.map(Time),
            signal: None,
        }
    }

    fn container_id(&self, container: &ObservedContainer) -> String {
        format!("{}://{}", self.inputs.runtime_name, container.id)
    }

    fn waiting_reason(&self, container: &PodContainer) -> &'static str {
        let inits_wait = self.model.init_sequence().next().is_some();
        if container.kind == ContainerKind::Regular && inits_wait
            || container.kind == ContainerKind::Init && self.observed.latest_sandbox().is_none()
        {
            "PodInitializing"
        } else {
            "ContainerCreating"
        }
    }

    fn reported(&self, container: &PodContainer) -> Option<ContainerStatus> {
        let status = self.model.pod.status.as_ref()?;
        let list = match container.kind {
            ContainerKind::Init | ContainerKind::Sidecar => &status.init_container_statuses,
            ContainerKind::Regular => &status.container_statuses,
            ContainerKind::Ephemeral => &status.ephemeral_container_statuses,
        };
        list.iter()
            .flatten()
            .find(|s| s.name == container.name())
            .cloned()
    }
}

fn image_name(container: &PodContainer, latest: &ObservedContainer) -> String {
    if latest.image.is_empty() {
        container.spec.image.clone().unwrap_or_default()
    } else {
        latest.image.clone()
    }
}

fn running(container: &ObservedContainer) -> ContainerState {
    ContainerState {
        running: Some(ContainerStateRunning {
            started_at: container.started_at.map(Time),
        }),
        ..ContainerState::default()
    }
}

fn terminated_state(terminated: Option<ContainerStateTerminated>) -> ContainerState {
    ContainerState {
        terminated,
        ..ContainerState::default()
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message,
        }),
        ..ContainerState::default()
    }
}

fn to_i32(attempt: u32) -> i32 {
    i32::try_from(attempt).unwrap_or(i32::MAX)
}

/// As Go prints a duration of whole seconds: `10s`, `1m20s`, `5m0s`.
fn short_duration(seconds: i64) -> String {
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        format!("{}m{}s", seconds / 60, seconds % 60)
    }
}
