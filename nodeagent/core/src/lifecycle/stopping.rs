//! A pod on its way out: containers first, sidecars last and in reverse order, then sandboxes, then all
//! that is left of it when it was deleted.

use super::starting::stop_within;
use super::{Action, PodMemory, StopCause};
use crate::observation::{ObservedContainer, PodObservation};
use crate::pod_model::{ContainerKind, PodModel};
use jiff::Timestamp;

/// True when nothing of the pod runs any more.
pub(super) fn plan(
    model: &PodModel,
    observed: &PodObservation,
    memory: &mut PodMemory,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> bool {
    let running: Vec<&ObservedContainer> = observed.containers.iter().filter(|c| c.is_running()).collect();
    if !running.is_empty() {
        stop_some(model, &running, memory, now, actions);
        return false;
    }
    // What is being started will be seen as running, or fail.
    if !memory.starting.is_empty() || memory.busy.contains("sandbox") {
        return false;
    }
    let mut stopped = true;
    for sandbox in observed.sandboxes.iter().filter(|s| s.ready) {
        stopped = false;
        if memory.busy.insert(sandbox.id.clone()) {
            actions.push(Action::StopSandbox {
                id: sandbox.id.clone(),
            });
        }
    }
    if stopped && (model.is_deleted() || memory.removed) {
        remove_all(observed, memory, actions);
    }
    stopped
}

fn stop_some(
    model: &PodModel,
    running: &[&ObservedContainer],
    memory: &mut PodMemory,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    let grace = memory
        .cause
        .as_ref()
        .and_then(|c| c.grace_seconds)
        .unwrap_or_else(|| model.grace_period_seconds());
    let is_sidecar = |c: &ObservedContainer| {
        model
            .container(&c.name)
            .is_some_and(|s| s.kind == ContainerKind::Sidecar)
    };
    let mut mains = running.iter().filter(|c| !is_sidecar(c)).peekable();
    if mains.peek().is_some() {
        for container in mains {
            // A deletion with a shorter grace than the stop in flight stops it sooner.
            stop_within(memory, container, StopCause::PodStops, grace, now, actions);
        }
        return;
    }
    // The grace period is one for the whole pod: sidecars get what the others left.
    let since = memory.terminating_since.unwrap_or(now);
    let left = (grace - now.duration_since(since).as_secs()).max(0);
    let order = |name: &str| model.containers.iter().position(|c| c.name() == name);
    if let Some(last) = running.iter().max_by_key(|c| order(&c.name)) {
        stop_within(memory, last, StopCause::PodStops, left, now, actions);
    }
}

fn remove_all(observed: &PodObservation, memory: &mut PodMemory, actions: &mut Vec<Action>) {
    for container in &observed.containers {
        if memory.busy.insert(container.id.clone()) {
            actions.push(Action::RemoveContainer {
                id: container.id.clone(),
            });
        }
    }
    if !observed.containers.is_empty() {
        return;
    }
    for sandbox in &observed.sandboxes {
        if memory.busy.insert(sandbox.id.clone()) {
            actions.push(Action::RemoveSandbox {
                id: sandbox.id.clone(),
            });
        }
    }
    if observed.sandboxes.is_empty() && !memory.finalizing {
        memory.finalizing = true;
        actions.push(Action::Finalize);
    }
}
