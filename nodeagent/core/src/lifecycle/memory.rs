//! What the agent knows about a pod that the runtime does not: work in flight, failures, probe results.

use super::CrashBackoff;
use crate::observation::{ContainerState, PodObservation};
use crate::pod_model::{ContainerKind, PodModel, RestartPolicy};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ResourceRequirements;
use std::collections::{BTreeMap, BTreeSet};

/// Why a container does not run yet: the last failure to start it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub reason: String,
    pub message: String,
    pub retry_at: Timestamp,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerMemory {
    pub waiting: Option<Waiting>,
    pub crash: CrashBackoff,
    /// The runtime id that the probe results below belong to.
    pub probed_id: String,
    pub startup: Option<bool>,
    pub ready: Option<bool>,
    pub live: Option<bool>,
    /// The contents of the termination message file, by runtime id.
    pub termination_messages: BTreeMap<String, String>,
}

/// Why a whole pod stops for good although nobody deleted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminationCause {
    pub reason: String,
    pub message: String,
    /// `None`: the pod's own.
    pub grace_seconds: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodMemory {
    pub containers: BTreeMap<String, ContainerMemory>,
    /// Names of containers whose start (pull, create, start, postStart) is in flight.
    pub starting: BTreeSet<String>,
    /// Runtime ids of containers being stopped, with the time of the kill.
    pub stopping: BTreeMap<String, Timestamp>,
    /// Runtime ids of sandboxes and containers being removed or stopped, and `"sandbox"` while one is made.
    pub busy: BTreeSet<String>,
    /// The last failure to make volumes or a sandbox.
    pub sandbox_waiting: Option<Waiting>,
    pub cause: Option<TerminationCause>,
    /// The pod object is gone from the API server, or was never there.
    pub removed: bool,
    pub terminating_since: Option<Timestamp>,
    pub start_time: Option<Timestamp>,
    pub finalizing: bool,
    /// Resources that running containers have, by runtime id. A container that is seen for the first time
    /// has what its spec says.
    pub resources: BTreeMap<String, Option<ResourceRequirements>>,
}

impl PodMemory {
    pub fn container(&mut self, name: &str) -> &mut ContainerMemory {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// Probe results of the attempt with this runtime id: (started, ready, live), `None` while unknown.
    pub fn probes(&self, name: &str, id: &str) -> (Option<bool>, Option<bool>, Option<bool>) {
        match self.containers.get(name) {
            Some(c) if c.probed_id == id => (c.startup, c.ready, c.live),
            _ => (None, None, None),
        }
    }

    /// Whether the pod is on its way out: deleted, gone, failed, or complete.
    pub fn is_terminating(&self, model: &PodModel) -> bool {
        self.terminating_since.is_some() || model.is_deleted() || self.removed
    }

    /// When the pod has run for its `activeDeadlineSeconds`.
    pub fn active_deadline(&self, model: &PodModel) -> Option<Timestamp> {
        let seconds = model.pod.spec.as_ref()?.active_deadline_seconds?;
        self.start_time?
            .checked_add(SignedDuration::from_secs(seconds))
            .ok()
    }

    /// Takes in what is new since the last plan.
    pub(super) fn note(&mut self, model: &PodModel, observed: &PodObservation, now: Timestamp) {
        if self.start_time.is_none() {
            let known = model
                .pod
                .status
                .as_ref()
                .and_then(|s| s.start_time.as_ref())
                .map(|t| t.0);
            self.start_time = Some(known.unwrap_or(now));
        }
        for container in &model.containers {
            if let Some(latest) = observed.latest(container.name()) {
                let name = container.name().to_owned();
                let memory = self.containers.entry(name).or_default();
                memory.crash.note(latest);
                if latest.is_running() {
                    memory.waiting = None;
                }
                if memory.probed_id != latest.id {
                    latest.id.clone_into(&mut memory.probed_id);
                    (memory.startup, memory.ready, memory.live) = (None, None, None);
                }
            }
        }
        let alive: BTreeSet<&str> = observed.containers.iter().map(|c| c.id.as_str()).collect();
        self.resources.retain(|id, _| alive.contains(id.as_str()));
        for running in observed.containers.iter().filter(|c| c.is_running()) {
            if let Some(container) = model.container(&running.name) {
                let resources = self.resources.entry(running.id.clone());
                resources.or_insert_with(|| container.spec.resources.clone());
            }
        }
        self.stopping
            .retain(|id, _| observed.containers.iter().any(|c| c.id == *id && c.is_running()));
        if self.terminating_since.is_none() && self.must_terminate(model, observed, now) {
            self.terminating_since = Some(now);
        }
    }

    fn must_terminate(&mut self, model: &PodModel, observed: &PodObservation, now: Timestamp) -> bool {
        if model.is_deleted() || self.removed || self.cause.is_some() || model.api_phase_is_terminal() {
            return true;
        }
        if self
            .active_deadline(model)
            .is_some_and(|deadline| deadline <= now)
        {
            self.cause = Some(TerminationCause {
                reason: "DeadlineExceeded".to_owned(),
                message: "Pod was active on the node longer than the specified deadline".to_owned(),
                grace_seconds: None,
            });
            return true;
        }
        self.is_complete(model, observed)
    }

    /// Every regular container ended and none starts again, or an init container failed for good.
    fn is_complete(&self, model: &PodModel, observed: &PodObservation) -> bool {
        let failed_init = model.of_kind(ContainerKind::Init).any(|init| {
            observed.latest(init.name()).is_some_and(|c| {
                c.state == ContainerState::Exited
                    && c.exit_code != 0
                    && model.restart_policy == RestartPolicy::Never
                    && !init.restarts_after(c.exit_code, model.restart_policy)
            })
        });
        if failed_init {
            return true;
        }
        let mut regular = model.of_kind(ContainerKind::Regular).peekable();
        regular.peek().is_some()
            && regular.all(|container| {
                !self.starting.contains(container.name())
                    && observed.latest(container.name()).is_some_and(|c| {
                        c.state == ContainerState::Exited
                            && !container.restarts_after(c.exit_code, model.restart_policy)
                    })
            })
    }
}
