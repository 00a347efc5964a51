//! Starting one container: image, configuration, create, start, postStart.

use super::images;
use super::sources::{self, Purpose};
use super::steps::{self, Failure, Shared, runtime_failure};
use super::{handlers, steps::sandbox_of};
use crate::context::Context;
use crate::runtime::RuntimeError;
use kubeclient::EventKind;
use nodeagent_core::{
    PodContainer, PodModel, PodObservation, VolumePaths, container_config, field_value, handler_target,
    hosts_file,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// postStart has no limit upstream; an hour is one that nobody waits for.
const POST_START_LIMIT: Duration = Duration::from_secs(3600);

pub(super) struct Target {
    pub name: String,
    pub attempt: u32,
    pub sandbox_id: String,
}

pub(super) async fn start(
    context: &Context,
    model: &PodModel,
    observed: &PodObservation,
    shared: &Shared,
    target: &Target,
) -> Result<(), Failure> {
    let container = model
        .container(&target.name)
        .ok_or_else(|| Failure::new("CreateContainerConfigError", "no such container", 10))?;
    if target.attempt > 0 && observed.latest(&target.name).is_some_and(|c| c.exit_code != 0) {
        let text = format!(
            "Back-off restarting failed container {} in pod {}_{}({})",
            target.name, model.name, model.namespace, model.uid
        );
        if target.attempt > 1 {
            context.event(model, Some(&target.name), EventKind::Warning, "BackOff", text);
        }
    }
    let image = images::ensure(context, model, container, shared).await?;
    let id = create(context, model, observed, shared, target, container, &image).await?;
    let failed = |reason: &str, error: &RuntimeError| {
        let text = format!("Error: {error}");
        context.event(model, Some(&target.name), EventKind::Warning, "Failed", text);
        runtime_failure(reason, error)
    };
    context
        .runtime
        .start_container(&id)
        .await
        .map_err(|error| failed("RunContainerError", &error))?;
    let text = "Container started".to_owned();
    context.event(model, Some(&target.name), EventKind::Normal, "Started", text);
    post_start(context, model, observed, container, &id).await
}

async fn create(
    context: &Context,
    model: &PodModel,
    observed: &PodObservation,
    shared: &Shared,
    target: &Target,
    container: &PodContainer,
    image: &crate::runtime::ImageInfo,
) -> Result<String, Failure> {
    let name = container.name();
    let config_error = |text: String| {
        context.event(
            model,
            Some(name),
            EventKind::Warning,
            "Failed",
            format!("Error: {text}"),
        );
        Failure::new("CreateContainerConfigError", text, 5)
    };
    let ips = sources::pod_ips(context, model, observed);
    let sources = sources::sources(context, model, &ips, Purpose::Environment)
        .await
        .map_err(|error| config_error(error.to_string()))?;
    shared
        .volumes
        .prepare(context, model, &ips)
        .await
        .map_err(|error| config_error(error.to_string()))?;
    let mut paths = VolumePaths {
        volumes: shared.volumes.paths(),
        image_ref: image.id.clone(),
        image_uid: image.uid,
        image_user: image.user.clone(),
        ..VolumePaths::default()
    };
    prepare_files(context, model, target, &ips, &mut paths)
        .await
        .map_err(|error| config_error(error.to_string()))?;
    paths.sub_paths = sub_paths(context, model, container, &paths, &sources.pod_ips)
        .await
        .map_err(|text| config_error(format!("failed to prepare subPath: {text}")))?;
    if let Some(target_name) = &container.target {
        paths.target_id = observed.latest(target_name).map(|c| c.id.clone());
    }
    let facts = context.node_facts();
    let config = container_config(model, container, target.attempt, &sources, &paths, &facts)
        .map_err(|error| config_error(error.to_string()))?;
    let attempt = observed.latest_sandbox().map_or(0, |s| s.attempt);
    let sandbox = sandbox_of(context, model, attempt);
    let id = context
        .runtime
        .create_container(&target.sandbox_id, &config, &sandbox)
        .await
        .map_err(|error| {
            let text = format!("Error: {error}");
            context.event(model, Some(name), EventKind::Warning, "Failed", text);
            runtime_failure("CreateContainerError", &error)
        })?;
    let text = "Container created".to_owned();
    context.event(model, Some(name), EventKind::Normal, "Created", text);
    Ok(id)
}

/// `/etc/hosts` and the termination message file.
async fn prepare_files(
    context: &Context,
    model: &PodModel,
    target: &Target,
    ips: &[String],
    paths: &mut VolumePaths,
) -> std::io::Result<()> {
    let hosts = context.pod_dir(&model.uid).join("etc-hosts");
    let text = hosts_file(
        model,
        ips,
        &context.config.node_name,
        &context.config.cluster_domain,
    );
    context.host.write_file(&hosts, text.as_bytes(), 0o644).await?;
    paths.hosts_file = Some(hosts.to_string_lossy().into_owned());
    let log = steps::termination_log(context, model, &target.name, target.attempt);
    // Any user of the container may write its last words.
    context.host.write_file(&log, b"", 0o666).await?;
    paths.termination_log = Some(log.to_string_lossy().into_owned());
    Ok(())
}

async fn sub_paths(
    context: &Context,
    model: &PodModel,
    container: &PodContainer,
    paths: &VolumePaths,
    pod_ips: &[String],
) -> Result<BTreeMap<usize, String>, String> {
    let mut result = BTreeMap::new();
    for (index, mount) in container.spec.volume_mounts.iter().flatten().enumerate() {
        let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) if !path.is_empty() => path.clone(),
            (_, Some(expression)) if !expression.is_empty() => {
                expand(context, model, container, expression, pod_ips)?
            }
            _ => continue,
        };
        let Some(volume) = paths.volumes.get(&mount.name) else {
            continue;
        };
        let target = context
            .pod_dir(&model.uid)
            .join("volume-subpaths")
            .join(&mount.name)
            .join(container.name())
            .join(index.to_string());
        let bound = context
            .host
            .bind_sub_path(std::path::Path::new(volume), &sub_path, &target)
            .await
            .map_err(|error| error.to_string())?;
        result.insert(index, bound.to_string_lossy().into_owned());
    }
    Ok(result)
}

/// `subPathExpr` may use the container's variables of plain values and of fields.
fn expand(
    context: &Context,
    model: &PodModel,
    container: &PodContainer,
    expression: &str,
    pod_ips: &[String],
) -> Result<String, String> {
    let mut text = expression.to_owned();
    for variable in container.spec.env.iter().flatten() {
        let field = variable.value_from.as_ref().and_then(|f| f.field_ref.as_ref());
        let value = match (&variable.value, field) {
            (Some(value), _) => value.clone(),
            (_, Some(field)) => field_value(model, &field.field_path, pod_ips, &context.host_ips())
                .map_err(|error| error.to_string())?,
            _ => continue,
        };
        text = text.replace(&format!("$({})", variable.name), &value);
    }
    if text.contains("$(") {
        return Err(format!("missing value for {expression:?}"));
    }
    Ok(text)
}

/// A container whose postStart hook fails is killed.
async fn post_start(
    context: &Context,
    model: &PodModel,
    observed: &PodObservation,
    container: &PodContainer,
    id: &str,
) -> Result<(), Failure> {
    let hook = container
        .spec
        .lifecycle
        .as_ref()
        .and_then(|l| l.post_start.as_ref());
    let Some(target) = hook.and_then(|hook| handler_target(hook, container)) else {
        return Ok(());
    };
    let ips = sources::pod_ips(context, model, observed);
    let result = handlers::run_hook(context, id, &ips, &target, POST_START_LIMIT).await;
    let Err(text) = result else { return Ok(()) };
    let text = format!("PostStartHook failed: {text}");
    let name = Some(container.name());
    context.event(
        model,
        name,
        EventKind::Warning,
        "FailedPostStartHook",
        text.clone(),
    );
    let killing = "FailedPostStartHook".to_owned();
    context.event(model, name, EventKind::Normal, "Killing", killing);
    let grace = model.grace_period_seconds();
    steps::report(
        context.runtime.stop_container(id, grace).await,
        model,
        "stop a container",
    );
    Err(Failure::new("PostStartHookError", text, 1))
}
