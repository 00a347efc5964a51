//! The pod's status as the agent reports it.
//!
//! Follows kubelet `pkg/kubelet/kubelet_pods.go` (`generateAPIPodStatus`, `getPhase`,
//! `convertToAPIContainerStatuses`) and `pkg/kubelet/status/generate.go`.

mod conditions;
mod containers;
mod phase;

use crate::container::qos_class;
use crate::lifecycle::PodMemory;
use crate::observation::PodObservation;
use crate::pod_model::{ContainerKind, PodModel};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{HostIP, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What of the node goes into every status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusInputs {
    pub host_ips: Vec<String>,
    /// The runtime's scheme in container ids: `containerd` in `containerd://…`.
    pub runtime_name: String,
}

/// The whole status; what the agent does not own is taken over from the API server's.
pub(crate) fn pod_status(
    model: &PodModel,
    observed: &PodObservation,
    memory: &PodMemory,
    inputs: &StatusInputs,
    now: Timestamp,
) -> PodStatus {
    let api = model.pod.status.clone().unwrap_or_default();
    if memory.removed || (model.api_phase_is_terminal() && observed.containers.is_empty()) {
        // Nothing is left to look at: what was reported last stays true.
        return PodStatus {
            observed_generation: model.pod.metadata.generation,
            ..api
        };
    }
    let statuses = containers::Builder {
        model,
        observed,
        memory,
        inputs,
        now,
    };
    let init = statuses.build(|k| matches!(k, ContainerKind::Init | ContainerKind::Sidecar));
    let regular = statuses.build(|k| k == ContainerKind::Regular);
    let ephemeral = statuses.build(|k| k == ContainerKind::Ephemeral);
    let terminating = memory.is_terminating(model);
    let still = observed.containers.iter().any(|c| c.is_running()) || !memory.starting.is_empty();
    let phase = if model.api_phase_is_terminal() {
        // A phase never goes back from its end.
        model.api_phase()
    } else if memory.cause.is_some() {
        "Failed"
    } else {
        phase::phase(model, &init, &regular, terminating && !still)
    };
    let ips = pod_ips(model, observed, inputs, &api);
    let conditions = conditions::conditions(
        &conditions::Inputs {
            model,
            init: &init,
            regular: &regular,
            phase,
            sandbox_ready: observed.ready_sandbox().is_some() && !ips.is_empty(),
        },
        api.conditions.as_deref().unwrap_or_default(),
        now,
    );
    let cause = memory.cause.as_ref();
    PodStatus {
        phase: Some(phase.to_owned()),
        reason: cause.map(|c| c.reason.clone()).or(api.reason),
        message: cause.map(|c| c.message.clone()).or(api.message),
        conditions: Some(conditions),
        container_statuses: some(regular),
        init_container_statuses: some(init),
        ephemeral_container_statuses: some(ephemeral),
        host_ip: inputs.host_ips.first().cloned(),
        host_ips: some(
            inputs
                .host_ips
                .iter()
                .map(|ip| HostIP { ip: ip.clone() })
                .collect(),
        ),
        pod_ip: ips.first().cloned(),
        pod_ips: some(ips.into_iter().map(|ip| PodIP { ip }).collect()),
        qos_class: Some(
            api.qos_class
                .unwrap_or_else(|| qos_class(&model.pod).as_str().to_owned()),
        ),
        start_time: memory.start_time.map(Time),
        observed_generation: model.pod.metadata.generation,
        ..api
    }
}

fn pod_ips(
    model: &PodModel,
    observed: &PodObservation,
    inputs: &StatusInputs,
    api: &PodStatus,
) -> Vec<String> {
    let reported = || -> Vec<String> { api.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect() };
    match observed.latest_sandbox() {
        Some(_) if model.host_network() => inputs.host_ips.clone(),
        Some(sandbox) if !sandbox.ips.is_empty() => sandbox.ips.clone(),
        // The runtime forgets the address of a stopped sandbox.
        _ => reported(),
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
