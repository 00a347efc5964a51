//! The pod's phase.

use crate::pod_model::{ContainerKind, PodModel, RestartPolicy};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus};

#[derive(Default)]
struct Tally {
    waiting: usize,
    running: usize,
    stopped: usize,
    succeeded: usize,
}

/// `stopped`: nothing of the pod runs or will run again.
pub(super) fn phase(
    model: &PodModel,
    init: &[ContainerStatus],
    regular: &[ContainerStatus],
    stopped: bool,
) -> &'static str {
    let mut pending_init = false;
    let mut failed_init = false;
    for (container, status) in model.init_sequence().zip(init) {
        let state = status.state.as_ref();
        let sidecar = container.kind == ContainerKind::Sidecar;
        match state {
            Some(ContainerState {
                terminated: Some(t), ..
            }) => failed_init |= !sidecar && t.exit_code != 0,
            Some(ContainerState { running: Some(_), .. }) => {
                pending_init |= !sidecar || status.started != Some(true);
            }
            _ => match last_exit_code(status) {
                Some(code) => failed_init |= !sidecar && code != 0,
                None => pending_init = true,
            },
        }
    }
    let mut tally = Tally::default();
    for status in regular {
        match status.state.as_ref() {
            Some(ContainerState { running: Some(_), .. }) => tally.running += 1,
            Some(ContainerState {
                terminated: Some(t), ..
            }) => {
                tally.stopped += 1;
                tally.succeeded += usize::from(t.exit_code == 0);
            }
            _ if last_exit_code(status).is_some() => tally.stopped += 1,
            _ => tally.waiting += 1,
        }
    }
    if failed_init && model.restart_policy == RestartPolicy::Never {
        return "Failed";
    }
    if stopped {
        let all_succeeded = tally.stopped == tally.succeeded && tally.stopped == regular.len();
        return if all_succeeded && !failed_init && !regular.is_empty() {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    if (pending_init || failed_init) && tally.running == 0 && tally.stopped == 0 || tally.waiting > 0 {
        return "Pending";
    }
    if tally.running > 0 || tally.stopped == 0 {
        return if tally.running > 0 { "Running" } else { "Pending" };
    }
    match model.restart_policy {
        RestartPolicy::Always => "Running",
        _ if tally.stopped == tally.succeeded => "Succeeded",
        RestartPolicy::Never => "Failed",
        RestartPolicy::OnFailure => "Running",
    }
}

fn last_exit_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.last_state.as_ref()?.terminated.as_ref()?.exit_code)
}
