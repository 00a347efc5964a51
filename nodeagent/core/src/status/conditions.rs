//! The pod's conditions that the agent owns; all others are kept as they are.

use crate::pod_model::{ContainerKind, PodModel};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) struct Inputs<'a> {
    pub model: &'a PodModel,
    pub init: &'a [ContainerStatus],
    pub regular: &'a [ContainerStatus],
    pub phase: &'a str,
    pub sandbox_ready: bool,
}

struct Verdict {
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

const OWNED: [&str; 4] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
];

pub(super) fn conditions(inputs: &Inputs<'_>, api: &[PodCondition], now: Timestamp) -> Vec<PodCondition> {
    let initialized = initialized(inputs);
    let containers_ready = containers_ready(inputs);
    let ready = ready(inputs, &containers_ready, api);
    let sandbox = Verdict {
        status: inputs.sandbox_ready,
        reason: None,
        message: None,
    };
    let mut result: Vec<PodCondition> = [sandbox, initialized, ready, containers_ready]
        .into_iter()
        .zip(OWNED)
        .map(|(verdict, type_)| condition(type_, verdict, inputs, api, now))
        .collect();
    result.extend(api.iter().filter(|c| !OWNED.contains(&c.type_.as_str())).cloned());
    if !result.iter().any(|c| c.type_ == "PodScheduled") {
        let scheduled = Verdict {
            status: true,
            reason: None,
            message: None,
        };
        result.push(condition("PodScheduled", scheduled, inputs, api, now));
    }
    result
}

fn condition(
    type_: &str,
    verdict: Verdict,
    inputs: &Inputs<'_>,
    api: &[PodCondition],
    now: Timestamp,
) -> PodCondition {
    let status = if verdict.status { "True" } else { "False" };
    let old = api.iter().find(|c| c.type_ == type_ && c.status == status);
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: Some(
            old.and_then(|c| c.last_transition_time.clone())
                .unwrap_or(Time(now)),
        ),
        last_probe_time: None,
        observed_generation: inputs.model.pod.metadata.generation,
    }
}

fn completed() -> Verdict {
    Verdict {
        status: false,
        reason: Some("PodCompleted"),
        message: None,
    }
}

fn initialized(inputs: &Inputs<'_>) -> Verdict {
    if inputs.phase == "Succeeded" {
        return Verdict {
            status: true,
            reason: Some("PodCompleted"),
            message: None,
        };
    }
    // Once a regular container was there, initialization is over.
    let past = inputs.regular.iter().any(|s| {
        s.started == Some(true)
            || s.state
                .as_ref()
                .is_some_and(|s| s.running.is_some() || s.terminated.is_some())
            || s.last_state.as_ref().is_some_and(|s| s.terminated.is_some())
    });
    let incomplete: Vec<&str> = inputs
        .model
        .init_sequence()
        .zip(inputs.init)
        .filter(|(container, status)| match container.kind {
            ContainerKind::Sidecar => status.started != Some(true),
            _ => !status.ready,
        })
        .map(|(container, _)| container.name())
        .collect();
    if past || incomplete.is_empty() {
        return Verdict {
            status: true,
            reason: None,
            message: None,
        };
    }
    Verdict {
        status: false,
        reason: Some("ContainersNotInitialized"),
        message: Some(format!(
            "containers with incomplete status: [{}]",
            incomplete.join(" ")
        )),
    }
}

fn containers_ready(inputs: &Inputs<'_>) -> Verdict {
    match inputs.phase {
        "Succeeded" => return completed(),
        "Failed" => {
            return Verdict {
                status: false,
                reason: Some("PodFailed"),
                message: None,
            };
        }
        _ => {}
    }
    let sidecars = inputs
        .model
        .init_sequence()
        .zip(inputs.init)
        .filter(|(container, _)| container.kind == ContainerKind::Sidecar)
        .map(|(_, status)| status);
    let unready: Vec<&str> = sidecars
        .chain(inputs.regular)
        .filter(|s| !s.ready)
        .map(|s| s.name.as_str())
        .collect();
    if unready.is_empty() {
        return Verdict {
            status: true,
            reason: None,
            message: None,
        };
    }
    Verdict {
        status: false,
        reason: Some("ContainersNotReady"),
        message: Some(format!("containers with unready status: [{}]", unready.join(" "))),
    }
}

fn ready(inputs: &Inputs<'_>, containers: &Verdict, api: &[PodCondition]) -> Verdict {
    if !containers.status {
        return Verdict {
            status: false,
            reason: containers.reason,
            message: containers.message.clone(),
        };
    }
    let gates = inputs
        .model
        .pod
        .spec
        .iter()
        .flat_map(|s| s.readiness_gates.iter().flatten());
    let mut problems = Vec::new();
    for gate in gates {
        match api.iter().find(|c| c.type_ == gate.condition_type) {
            None => problems.push(format!(
                "corresponding condition of pod readiness gate \"{}\" does not exist.",
                gate.condition_type
            )),
            Some(c) if c.status != "True" => problems.push(format!(
                "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                gate.condition_type, c.status
            )),
            Some(_) => {}
        }
    }
    if problems.is_empty() {
        return Verdict {
            status: true,
            reason: None,
            message: None,
        };
    }
    Verdict {
        status: false,
        reason: Some("ReadinessGatesNotReady"),
        message: Some(problems.join(", ")),
    }
}
