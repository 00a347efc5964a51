//! A pod that should run: sandbox, init containers in order, sidecars, then all the others.

use super::{Action, PodMemory, StopCause, Wake};
use crate::observation::{ContainerState, ObservedContainer, ObservedSandbox, PodObservation};
use crate::pod_model::{ContainerKind, PodContainer, PodModel};
use jiff::{SignedDuration, Timestamp};

/// Dead attempts kept for `kubectl logs --previous` and `lastState`.
const DEAD_ATTEMPTS_KEPT: usize = 1;

pub(super) fn plan(
    model: &PodModel,
    observed: &PodObservation,
    memory: &mut PodMemory,
    now: Timestamp,
    actions: &mut Vec<Action>,
    wake: &mut Wake,
) {
    let Some(sandbox) = observed.ready_sandbox() else {
        replace_sandbox(model, observed, memory, now, actions, wake);
        return;
    };
    let mut step = Step {
        model,
        observed,
        memory,
        sandbox,
        now,
        actions,
        wake,
    };
    step.stop_unfit();
    let initialized = step.initialize();
    step.start_others(initialized);
    step.resize();
    step.remove_leftovers();
}

/// Without a ready sandbox nothing may run: containers of the lost one are stopped, then a new one is made.
fn replace_sandbox(
    model: &PodModel,
    observed: &PodObservation,
    memory: &mut PodMemory,
    now: Timestamp,
    actions: &mut Vec<Action>,
    wake: &mut Wake,
) {
    let mut running = false;
    for container in observed.containers.iter().filter(|c| c.is_running()) {
        running = true;
        stop(model, memory, container, StopCause::SandboxLost, now, actions);
    }
    if running || memory.busy.contains("sandbox") || !memory.starting.is_empty() {
        return;
    }
    if let Some(waiting) = &memory.sandbox_waiting
        && waiting.retry_at > now
    {
        wake.at(waiting.retry_at, now);
        return;
    }
    let attempt = observed.latest_sandbox().map_or(0, |s| s.attempt + 1);
    memory.busy.insert("sandbox".to_owned());
    actions.push(Action::CreateSandbox { attempt });
}

struct Step<'a> {
    model: &'a PodModel,
    observed: &'a PodObservation,
    memory: &'a mut PodMemory,
    sandbox: &'a ObservedSandbox,
    now: Timestamp,
    actions: &'a mut Vec<Action>,
    wake: &'a mut Wake,
}

impl Step<'_> {
    /// Stops running containers that failed a probe, whose spec changed or whose sandbox is an old one.
    fn stop_unfit(&mut self) {
        for container in self.observed.containers.iter().filter(|c| c.is_running()) {
            let Some(spec) = self.model.container(&container.name) else {
                continue;
            };
            let (startup, _, live) = self.memory.probes(&container.name, &container.id);
            let cause = if container.sandbox_id != self.sandbox.id {
                StopCause::SandboxLost
            } else if container.state == ContainerState::Unknown
                || spec.kind != ContainerKind::Ephemeral && container.spec_hash != spec.hash()
            {
                StopCause::SpecChanged
            } else if live == Some(false) {
                StopCause::LivenessFailed
            } else if startup == Some(false) {
                StopCause::StartupFailed
            } else {
                continue;
            };
            stop(self.model, self.memory, container, cause, self.now, self.actions);
        }
    }

    /// Runs the init sequence. True when regular containers may start.
    fn initialize(&mut self) -> bool {
        let past_init = self
            .model
            .of_kind(ContainerKind::Regular)
            .any(|c| self.observed.latest_in(c.name(), &self.sandbox.id).is_some());
        let model = self.model;
        for container in model.init_sequence() {
            let latest = self.observed.latest_in(container.name(), &self.sandbox.id);
            match (container.kind, latest) {
                (ContainerKind::Sidecar, Some(c)) if c.is_running() => {
                    if !past_init && !self.is_started(container, c) {
                        return false;
                    }
                }
                (ContainerKind::Sidecar, _) => {
                    self.start(container, latest);
                    if !past_init {
                        return false;
                    }
                }
                _ if past_init => {}
                (_, Some(c)) if c.state == ContainerState::Exited && c.exit_code == 0 => {}
                (_, Some(c)) if c.is_running() => return false,
                (_, latest) => {
                    self.start(container, latest);
                    return false;
                }
            }
        }
        true
    }

    /// Regular containers once initialized; ephemeral ones at any time.
    fn start_others(&mut self, initialized: bool) {
        let model = self.model;
        for container in &model.containers {
            match container.kind {
                ContainerKind::Regular if initialized => {}
                ContainerKind::Ephemeral => {}
                _ => continue,
            }
            let latest = self.observed.latest(container.name());
            if !latest.is_some_and(ObservedContainer::is_running) {
                self.start(container, latest);
            }
        }
    }

    fn start(&mut self, container: &PodContainer, latest: Option<&ObservedContainer>) {
        let name = container.name();
        if self.memory.starting.contains(name) {
            return;
        }
        if let Some(ended) = latest.filter(|c| c.state == ContainerState::Exited) {
            if !container.restarts_after(ended.exit_code, self.model.restart_policy) {
                return;
            }
            let until = self
                .memory
                .containers
                .get(name)
                .map_or(self.now, |m| m.crash.until(ended));
            if until > self.now {
                self.wake.at(until, self.now);
                return;
            }
        }
        if let Some(waiting) = self.memory.containers.get(name).and_then(|m| m.waiting.as_ref())
            && waiting.retry_at > self.now
        {
            self.wake.at(waiting.retry_at, self.now);
            return;
        }
        // A container that was created and never started is replaced by a further attempt.
        let attempt = self.observed.latest(name).map_or(0, |c| match c.state {
            ContainerState::Created => c.attempt,
            _ => c.attempt + 1,
        });
        self.memory.starting.insert(name.to_owned());
        self.actions.push(Action::StartContainer {
            name: name.to_owned(),
            attempt,
            sandbox_id: self.sandbox.id.clone(),
        });
    }

    /// A sidecar lets the next container start when its startup probe passed (or it has none).
    fn is_started(&self, container: &PodContainer, running: &ObservedContainer) -> bool {
        if self.memory.starting.contains(container.name()) {
            return false;
        }
        container.spec.startup_probe.is_none()
            || self.memory.probes(container.name(), &running.id).0 == Some(true)
    }

    /// Applies resources that were changed in place.
    fn resize(&mut self) {
        for container in &self.model.containers {
            let name = container.name();
            let running = self.observed.latest(name).filter(|c| c.is_running());
            let Some(running) = running else { continue };
            let has = self.memory.resources.get(&running.id);
            if has == Some(&container.spec.resources) || self.memory.stopping.contains_key(&running.id) {
                continue;
            }
            let resources = container.spec.resources.clone();
            self.memory.resources.insert(running.id.clone(), resources);
            self.actions.push(Action::Resize {
                id: running.id.clone(),
                name: name.to_owned(),
            });
        }
    }

    /// Removes all but the newest dead attempts, and old sandboxes.
    fn remove_leftovers(&mut self) {
        for container in &self.model.containers {
            let mut dead: Vec<_> = self
                .observed
                .attempts(container.name())
                .filter(|c| c.state == ContainerState::Exited)
                .collect();
            dead.sort_by_key(|c| std::cmp::Reverse((c.attempt, c.created_at)));
            let latest_is_dead = self
                .observed
                .latest(container.name())
                .is_some_and(|c| c.state == ContainerState::Exited);
            for old in dead
                .into_iter()
                .skip(DEAD_ATTEMPTS_KEPT + usize::from(latest_is_dead))
            {
                if self.memory.busy.insert(old.id.clone()) {
                    self.actions.push(Action::RemoveContainer { id: old.id.clone() });
                }
            }
        }
        for old in self.observed.sandboxes.iter().filter(|s| s.id != self.sandbox.id) {
            // Removing a sandbox removes its containers; those that are still shown stay.
            let in_use = self.observed.containers.iter().any(|c| c.sandbox_id == old.id);
            if !in_use && self.memory.busy.insert(old.id.clone()) {
                self.actions.push(Action::RemoveSandbox { id: old.id.clone() });
            }
        }
    }
}

/// Asks for a stop unless one with the same or an earlier kill time is in flight.
pub(super) fn stop(
    model: &PodModel,
    memory: &mut PodMemory,
    container: &ObservedContainer,
    cause: StopCause,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    let grace_seconds = match cause {
        StopCause::LivenessFailed => probe_grace(model, &container.name, |c| c.spec.liveness_probe.as_ref()),
        StopCause::StartupFailed => probe_grace(model, &container.name, |c| c.spec.startup_probe.as_ref()),
        _ => None,
    }
    .unwrap_or_else(|| model.grace_period_seconds());
    stop_within(memory, container, cause, grace_seconds, now, actions);
}

pub(super) fn stop_within(
    memory: &mut PodMemory,
    container: &ObservedContainer,
    cause: StopCause,
    grace_seconds: i64,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    let kill_at = now
        .checked_add(SignedDuration::from_secs(grace_seconds))
        .unwrap_or(Timestamp::MAX);
    // Sooner by whole seconds only: the remaining grace of a sidecar is counted in seconds.
    let sooner = |at: &Timestamp| at.duration_since(kill_at) > SignedDuration::from_secs(1);
    if memory.stopping.get(&container.id).is_some_and(|at| !sooner(at)) {
        return;
    }
    memory.stopping.insert(container.id.clone(), kill_at);
    actions.push(Action::StopContainer {
        id: container.id.clone(),
        name: container.name.clone(),
        grace_seconds,
        cause,
    });
}

fn probe_grace(
    model: &PodModel,
    name: &str,
    probe: impl Fn(&PodContainer) -> Option<&k8s_openapi::api::core::v1::Probe>,
) -> Option<i64> {
    probe(model.container(name)?)?.termination_grace_period_seconds
}
