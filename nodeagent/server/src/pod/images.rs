//! Images: pull policies, back-off, credentials.

use super::steps::{Failure, Shared};
use crate::context::Context;
use crate::runtime::{ImageInfo, RegistryAuth, RuntimeError};
use base64::Engine as _;
use k8s_openapi::api::core::v1::Secret;
use kubeclient::EventKind;
use nodeagent_core::{PodContainer, PodModel, references};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

const BACKOFF_INITIAL: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// The image is there when this returns.
pub(super) async fn ensure(
    context: &Context,
    model: &PodModel,
    container: &PodContainer,
    shared: &Shared,
) -> Result<ImageInfo, Failure> {
    let image = container.spec.image.clone().unwrap_or_default();
    let policy = match container.spec.image_pull_policy.as_deref() {
        Some(policy) => policy,
        None if is_latest(&image) => "Always",
        None => "IfNotPresent",
    };
    let present = context.runtime.image(&image).await.map_err(|error| {
        Failure::new(
            "ImageInspectError",
            format!("Failed to inspect image \"{image}\": {error}"),
            5,
        )
    })?;
    match (policy, present) {
        ("Always", _) | ("IfNotPresent", None) => {}
        (_, Some(present)) => {
            let text = format!("Container image \"{image}\" already present on machine");
            context.event(model, Some(container.name()), EventKind::Normal, "Pulled", text);
            return Ok(present);
        }
        (_, None) => {
            let text = format!("Container image \"{image}\" is not present with pull policy of Never");
            let reason = "ErrImageNeverPull";
            context.event(
                model,
                Some(container.name()),
                EventKind::Warning,
                reason,
                text.clone(),
            );
            return Err(Failure::new("ErrImageNeverPull", text, 10));
        }
    }
    if let Some(left) = backing_off(shared, &image) {
        let text = format!("Back-off pulling image \"{image}\"");
        context.event(
            model,
            Some(container.name()),
            EventKind::Normal,
            "BackOff",
            text.clone(),
        );
        let seconds = i64::try_from(left.as_secs()).unwrap_or(300) + 1;
        return Err(Failure::new("ImagePullBackOff", text, seconds));
    }
    match pull(context, model, container, &image).await {
        Ok(info) => {
            lock(shared).remove(&image);
            Ok(info)
        }
        Err(error) => {
            note_failure(shared, &image);
            let text = format!("Failed to pull image \"{image}\": {error}");
            context.event(
                model,
                Some(container.name()),
                EventKind::Warning,
                "Failed",
                text.clone(),
            );
            let short = "Error: ErrImagePull".to_owned();
            context.event(model, Some(container.name()), EventKind::Warning, "Failed", short);
            // Soon again, when it will be seen to be backing off.
            Err(Failure::new("ErrImagePull", text, 1))
        }
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, BTreeMap<String, (u32, Instant)>> {
    shared.pulls.lock().unwrap_or_else(PoisonError::into_inner)
}

fn backing_off(shared: &Shared, image: &str) -> Option<Duration> {
    let until = lock(shared).get(image).map(|(_, until)| *until)?;
    until
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

fn note_failure(shared: &Shared, image: &str) {
    let mut pulls = lock(shared);
    let failures = pulls.get(image).map_or(0, |(n, _)| *n);
    let delay = (BACKOFF_INITIAL * 2_u32.pow(failures.min(5))).min(BACKOFF_MAX);
    pulls.insert(image.to_owned(), (failures + 1, Instant::now() + delay));
}

async fn pull(
    context: &Context,
    model: &PodModel,
    container: &PodContainer,
    image: &str,
) -> Result<ImageInfo, RuntimeError> {
    let asked = Instant::now();
    let permit = context.pulls.acquire().await;
    let _permit = permit.map_err(|_| RuntimeError::Failed("the agent is stopping".to_owned()))?;
    let text = format!("Pulling image \"{image}\"");
    context.event(model, Some(container.name()), EventKind::Normal, "Pulling", text);
    let started = Instant::now();
    let mut result = Err(RuntimeError::Failed("no credentials to try".to_owned()));
    // With the credentials that fit, then without.
    let mut tries: Vec<Option<RegistryAuth>> = credentials(context, model, image)
        .await
        .into_iter()
        .map(Some)
        .collect();
    tries.push(None);
    for auth in tries {
        result = context.runtime.pull_image(image, auth).await;
        if result.is_ok() {
            break;
        }
    }
    let id = result?;
    let found = context.runtime.image(&id).await?;
    let info = match found {
        Some(info) => info,
        None => context
            .runtime
            .image(image)
            .await?
            .ok_or_else(|| RuntimeError::NotFound(format!("{image} vanished after its pull")))?,
    };
    let text = format!(
        "Successfully pulled image \"{image}\" in {:.3}s ({:.3}s including waiting). Image size: {} bytes.",
        started.elapsed().as_secs_f64(),
        asked.elapsed().as_secs_f64(),
        info.size_bytes
    );
    context.event(model, Some(container.name()), EventKind::Normal, "Pulled", text);
    Ok(info)
}

/// No tag, or the tag `latest`, and no digest.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

async fn credentials(context: &Context, model: &PodModel, image: &str) -> Vec<RegistryAuth> {
    let mut found = Vec::new();
    for name in references(model).pull_secrets {
        match context.objects.secret(&model.namespace, &name).await {
            Ok(Some(secret)) => found.extend(from_secret(&secret, image)),
            Ok(None) => {
                let text = format!("Unable to retrieve some image pull secrets ({name})");
                let reason = "FailedToRetrieveImagePullSecret";
                context.event(model, None, EventKind::Warning, reason, text);
            }
            Err(error) => tracing::warn!(%error, secret = %name, "pull secret cannot be read"),
        }
    }
    found
}

fn from_secret(secret: &Secret, image: &str) -> Vec<RegistryAuth> {
    let data = secret.data.as_ref();
    let auths = if let Some(bytes) = data.and_then(|d| d.get(".dockerconfigjson")) {
        serde_json::from_slice::<DockerConfig>(&bytes.0)
            .map(|c| c.auths)
            .ok()
    } else {
        let bytes = data.and_then(|d| d.get(".dockercfg"));
        bytes.and_then(|b| serde_json::from_slice(&b.0).ok())
    };
    let host = registry_host(image);
    auths
        .into_iter()
        .flatten()
        .filter(|(server, _)| server_host(server) == host)
        .map(|(_, auth)| decode(auth))
        .collect()
}

fn decode(auth: DockerAuth) -> RegistryAuth {
    let (mut username, mut password) = (auth.username, auth.password);
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(auth.auth.trim())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some((user, pass)) = decoded.as_deref().and_then(|text| text.split_once(':'))
        && username.is_empty()
    {
        (username, password) = (user.to_owned(), pass.to_owned());
    }
    RegistryAuth {
        username,
        password,
        identity_token: auth.identity_token,
    }
}

/// `docker.io` for names without a host.
fn registry_host(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains('.') || host.contains(':') || host == "localhost" => host,
        _ => "docker.io",
    }
}

fn server_host(server: &str) -> &str {
    let host = server
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or(host);
    if host == "index.docker.io" {
        "docker.io"
    } else {
        host
    }
}

#[cfg(test)]
mod tests {
    use super::{is_latest, registry_host, server_host};

    #[test]
    fn names_say_their_registry_and_whether_they_move() {
        assert!(is_latest("busybox") && is_latest("host:5000/a/b:latest"));
        assert!(!is_latest("busybox:1") && !is_latest("a@sha256:00"));
        assert_eq!(registry_host("library/nginx"), "docker.io");
        assert_eq!(registry_host("host:5000/nginx"), "host:5000");
        assert_eq!(server_host("https://index.docker.io/v1/"), "docker.io");
    }
}
