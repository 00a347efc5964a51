//! The pod state machine: desired pod + observed runtime + memory + now → actions and status.
//!
//! Follows kubelet `pkg/kubelet/kuberuntime` (`computePodActions`, `computeInitContainerActions`) and
//! `pkg/kubelet/pod_workers.go` of Kubernetes 1.36.

mod backoff;
mod memory;
mod starting;
mod stopping;

pub use backoff::CrashBackoff;
pub use memory::{ContainerMemory, PodMemory, TerminationCause, Waiting};

use crate::observation::PodObservation;
use crate::pod_model::PodModel;
use crate::status::{StatusInputs, pod_status};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodStatus;

/// Why a container is stopped; the text of the `Killing` event follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopCause {
    PodStops,
    LivenessFailed,
    StartupFailed,
    SpecChanged,
    SandboxLost,
}

impl StopCause {
    pub fn message(&self, container: &str) -> String {
        match self {
            Self::PodStops => format!("Stopping container {container}"),
            Self::LivenessFailed => {
                format!("Container {container} failed liveness probe, will be restarted")
            }
            Self::StartupFailed => format!("Container {container} failed startup probe, will be restarted"),
            Self::SpecChanged => format!("Container {container} definition changed, will be restarted"),
            Self::SandboxLost => "Pod sandbox changed, it will be killed and re-created.".to_owned(),
        }
    }
}

/// One thing for the shell to do. Every one may run at the same time as the others of its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    CreateSandbox {
        attempt: u32,
    },
    StartContainer {
        name: String,
        attempt: u32,
        sandbox_id: String,
    },
    StopContainer {
        id: String,
        name: String,
        grace_seconds: i64,
        cause: StopCause,
    },
    /// Gives a running container, and the pod, the resources that the spec says now.
    Resize {
        id: String,
        name: String,
    },
    StopSandbox {
        id: String,
    },
    RemoveContainer {
        id: String,
    },
    RemoveSandbox {
        id: String,
    },
    /// Nothing of the pod is left in the runtime: take down volumes, directories and cgroups, then tell
    /// the API server that the pod is gone.
    Finalize,
}

/// What to do now, what to say, and when to think again if nothing happens before.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub status: PodStatus,
    pub wake_after: Option<SignedDuration>,
    /// Nothing of the pod runs or will run again.
    pub finished: bool,
}

/// The next step of a pod.
pub fn plan(
    model: &PodModel,
    observed: &PodObservation,
    memory: &mut PodMemory,
    inputs: &StatusInputs,
    now: Timestamp,
) -> Plan {
    memory.note(model, observed, now);
    let mut wake = Wake::default();
    let mut actions = Vec::new();
    let mut finished = false;
    if memory.is_terminating(model) {
        finished = stopping::plan(model, observed, memory, now, &mut actions);
    } else {
        starting::plan(model, observed, memory, now, &mut actions, &mut wake);
        if let Some(deadline) = memory.active_deadline(model) {
            wake.at(deadline, now);
        }
    }
    let status = pod_status(model, observed, memory, inputs, now);
    Plan {
        actions,
        status,
        wake_after: wake.after,
        finished,
    }
}

/// The earliest time at which the plan may change by itself.
#[derive(Debug, Default)]
struct Wake {
    after: Option<SignedDuration>,
}

impl Wake {
    fn at(&mut self, time: Timestamp, now: Timestamp) {
        let wait = time.duration_since(now).max(SignedDuration::ZERO);
        self.after = Some(self.after.map_or(wait, |after| after.min(wait)));
    }
}
