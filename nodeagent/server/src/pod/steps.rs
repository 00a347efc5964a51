//! The actions of a plan, save for starting containers.

use super::handlers;
use super::sources;
use super::status_writer::{self, Written};
use super::volumes::PodVolumes;
use crate::context::Context;
use crate::runtime::{self, RuntimeError};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Api, DeleteParams, Preconditions};
use kubeclient::EventKind;
use nodeagent_core::{
    LogOptions, ObservedContainer, PodCgroups, PodModel, PodObservation, SandboxConfig, StopCause, Waiting,
    cgroup_resources, handler_target, linux_resources, parse_stream, qos_class, resolv_conf, sandbox_config,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The longest termination message (upstream: 4096 bytes a container, 2048 from logs).
const MAX_MESSAGE: usize = 4096;
const MAX_LOG_MESSAGE: usize = 2048;
const LOG_MESSAGE_LINES: usize = 80;
/// A preStop hook that used up the grace period still leaves the container this long.
const MIN_GRACE_SECONDS: i64 = 2;

/// Why a sandbox or container did not come to be, and when to try again.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub reason: String,
    pub message: String,
    pub retry_after: SignedDuration,
}

impl Failure {
    pub fn new(reason: &str, message: impl Into<String>, retry_seconds: i64) -> Self {
        Self {
            reason: reason.to_owned(),
            message: message.into(),
            retry_after: SignedDuration::from_secs(retry_seconds),
        }
    }

    pub fn waiting(self, now: Timestamp) -> Waiting {
        Waiting {
            reason: self.reason,
            message: self.message,
            retry_at: now.checked_add(self.retry_after).unwrap_or(now),
        }
    }
}

/// What came of an action.
pub(super) enum Done {
    Sandbox(Result<(), Failure>),
    Started {
        name: String,
        result: Result<(), Failure>,
    },
    Stopped {
        id: String,
        ok: bool,
    },
    Free {
        id: String,
    },
    Status {
        status: Box<PodStatus>,
        result: Written,
    },
    Refreshed,
    Finalized {
        ok: bool,
    },
}

/// What actions of one pod share.
#[derive(Default)]
pub(super) struct Shared {
    pub volumes: PodVolumes,
    /// By image: pulls that failed in a row, and the end of their back-off.
    pub pulls: Mutex<BTreeMap<String, (u32, Instant)>>,
    /// Containers whose preStop hook was run.
    hooked: Mutex<BTreeSet<String>>,
}

impl Shared {
    pub fn has_volumes(&self) -> bool {
        self.volumes.is_ready()
    }
}

pub(super) fn report(result: runtime::Result<()>, model: &PodModel, what: &str) {
    if let Err(error) = result {
        tracing::warn!(pod = %model.name, namespace = %model.namespace, %error, "cannot {what}");
    }
}

pub(super) fn sandbox_of(context: &Context, model: &PodModel, attempt: u32) -> SandboxConfig {
    sandbox_config(
        model,
        attempt,
        &resolv_conf(model, &context.dns),
        &context.log_dir(model).to_string_lossy(),
        &context.config.node_name,
        &context.node_facts(),
    )
}

/// Volumes, cgroup and directories, then the sandbox.
pub(super) async fn create_sandbox(
    context: &Context,
    model: &PodModel,
    shared: &Shared,
    attempt: u32,
) -> Result<(), Failure> {
    if let Err(error) = shared.volumes.prepare(context, model, &[]).await {
        context.event(model, None, EventKind::Warning, "FailedMount", error.to_string());
        return Err(Failure::new("ContainerCreating", error.to_string(), 2));
    }
    let host = &context.host;
    let cgroups = PodCgroups::new(&context.config.cgroup_root, qos_class(&model.pod), &model.uid);
    let made = async {
        host.create_directory(&context.log_dir(model)).await?;
        host.create_pod_cgroup(&cgroups, &cgroup_resources(&model.pod))
            .await
    };
    if let Err(error) = made.await {
        let text = format!("Failed to prepare pod: {error}");
        context.event(
            model,
            None,
            EventKind::Warning,
            "FailedCreatePodContainer",
            text.clone(),
        );
        return Err(Failure::new("ContainerCreating", text, 2));
    }
    let config = sandbox_of(context, model, attempt);
    if let Err(error) = context.runtime.run_sandbox(&config).await {
        let text = format!("Failed to create pod sandbox: {error}");
        context.event(
            model,
            None,
            EventKind::Warning,
            "FailedCreatePodSandBox",
            text.clone(),
        );
        return Err(Failure::new("ContainerCreating", text, 2));
    }
    Ok(())
}

/// The pod's limits around the container's: they must hold it before and after, growing or shrinking.
pub(super) async fn resize(context: &Context, model: &PodModel, id: &str, name: &str) {
    let Some(container) = model.container(name) else {
        return;
    };
    let cgroups = PodCgroups::new(&context.config.cgroup_root, qos_class(&model.pod), &model.uid);
    let limits = cgroup_resources(&model.pod);
    let wanted = linux_resources(model, container, &context.node_facts());
    // The kernel refuses to shrink below what is used: then the first is an error, and the last is not.
    let _ = context.host.create_pod_cgroup(&cgroups, &limits).await;
    match context.runtime.update_resources(id, &wanted).await {
        Ok(()) => {
            if let Err(error) = context.host.create_pod_cgroup(&cgroups, &limits).await {
                tracing::warn!(pod = %model.name, %error, "limits of the pod stay as they were");
            }
            let text = "Container resized".to_owned();
            context.event(model, Some(name), EventKind::Normal, "ResizeCompleted", text);
        }
        Err(error) => {
            let text = format!("Resize failed: {error}");
            context.event(model, Some(name), EventKind::Warning, "ResizeError", text);
        }
    }
}

/// preStop hook, then the signal, then the kill. True when it is done.
#[allow(clippy::too_many_arguments)]
pub(super) async fn stop_container(
    context: &Context,
    model: &PodModel,
    observed: &PodObservation,
    shared: &Shared,
    id: &str,
    name: &str,
    grace_seconds: i64,
    cause: &StopCause,
) -> bool {
    let started = Instant::now();
    let first = {
        let mut hooked = shared.hooked.lock().unwrap_or_else(PoisonError::into_inner);
        hooked.insert(id.to_owned())
    };
    if first {
        context.event(
            model,
            Some(name),
            EventKind::Normal,
            "Killing",
            cause.message(name),
        );
        run_pre_stop(context, model, observed, id, name, grace_seconds).await;
    }
    let used = i64::try_from(started.elapsed().as_secs()).unwrap_or(i64::MAX);
    let left = if used == 0 {
        grace_seconds
    } else {
        (grace_seconds - used).max(MIN_GRACE_SECONDS)
    };
    match context.runtime.stop_container(id, left).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(pod = %model.name, container = %name, %error, "cannot stop a container");
            false
        }
    }
}

async fn run_pre_stop(
    context: &Context,
    model: &PodModel,
    observed: &PodObservation,
    id: &str,
    name: &str,
    grace_seconds: i64,
) {
    let Some(container) = model.container(name) else {
        return;
    };
    let hook = container
        .spec
        .lifecycle
        .as_ref()
        .and_then(|l| l.pre_stop.as_ref());
    let Some(target) = hook.and_then(|hook| handler_target(hook, container)) else {
        return;
    };
    let ips = sources::pod_ips(context, model, observed);
    let timeout = Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0));
    if let Err(text) = handlers::run_hook(context, id, &ips, &target, timeout).await {
        let text = format!("PreStopHook failed: {text}");
        context.event(model, Some(name), EventKind::Warning, "FailedPreStopHook", text);
    }
}

/// What the container left as its last words.
pub(super) async fn termination_message(
    context: &Context,
    model: &PodModel,
    container: &ObservedContainer,
) -> String {
    let spec = model.container(&container.name);
    let path = termination_log(context, model, &container.name, container.attempt);
    let file = context.host.read_file(&path).await.unwrap_or_default();
    let text = tail(&file, MAX_MESSAGE);
    let from_logs = spec.and_then(|c| c.spec.termination_message_policy.as_deref());
    if !text.is_empty() || container.exit_code == 0 || from_logs != Some("FallbackToLogsOnError") {
        return text;
    }
    let log = format!("{}/{}.log", container.name, container.attempt);
    let log = context.log_dir(model).join(log);
    let data = context.host.read_file(&log).await.unwrap_or_default();
    let options = LogOptions {
        tail_lines: Some(LOG_MESSAGE_LINES),
        ..LogOptions::default()
    };
    tail(&parse_stream(&data, &options).0, MAX_LOG_MESSAGE)
}

pub(super) fn termination_log(
    context: &Context,
    model: &PodModel,
    name: &str,
    attempt: u32,
) -> std::path::PathBuf {
    let file = format!("{attempt}.termination");
    context
        .pod_dir(&model.uid)
        .join("containers")
        .join(name)
        .join(file)
}

fn tail(data: &[u8], max: usize) -> String {
    let from = data.len().saturating_sub(max);
    String::from_utf8_lossy(&data[from..]).into_owned()
}

/// Takes down what is left on the machine, then tells the API server. True when both is done.
pub(super) async fn finalize(context: &Context, model: &PodModel, status: &PodStatus, removed: bool) -> bool {
    let host = &context.host;
    let cgroups = PodCgroups::new(&context.config.cgroup_root, qos_class(&model.pod), &model.uid);
    if let Err(error) = host.remove_tree(&context.pod_dir(&model.uid)).await {
        tracing::warn!(pod = %model.name, %error, "volumes cannot be taken down yet");
        return false;
    }
    if let Err(error) = host.remove_tree(&context.log_dir(model)).await {
        tracing::warn!(pod = %model.name, %error, "logs cannot be removed");
    }
    if let Err(error) = host.remove_pod_cgroup(&cgroups).await {
        tracing::debug!(pod = %model.name, %error, "cgroup cannot be removed yet");
    }
    if removed {
        return true;
    }
    // The last words of the pod, before it is gone.
    let last = status_writer::write(context, &model.pod, status).await;
    if matches!(last, Written::No) {
        return false;
    }
    confirm_deletion(context, model).await
}

/// True when the pod is gone, or another has its name.
pub(super) async fn confirm_deletion(context: &Context, model: &PodModel) -> bool {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &model.namespace);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: Some(model.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match pods.delete(&model.name, &params).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => true,
        Err(error) => {
            tracing::debug!(pod = %model.name, %error, "the pod cannot be deleted yet");
            false
        }
    }
}

/// Text of a runtime's failure, with the reason that upstream gives it.
pub(super) fn runtime_failure(reason: &str, error: &RuntimeError) -> Failure {
    Failure::new(reason, error.to_string(), 2)
}
