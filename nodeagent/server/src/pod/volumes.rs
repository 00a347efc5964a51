//! The volumes of one pod: made ready once, kept current while it runs.

use super::sources::{self, Purpose};
use crate::context::Context;
use crate::host::EmptyDirOptions;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{PersistentVolume, Volume};
use nodeagent_core::{FileEntry, PodModel, TokenProjection, VolumeError, VolumePlan, volume_plan};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tokio::time::{Duration, Instant};

/// A token is replaced after this share of its life, or after a day.
const ROTATE_AFTER: f64 = 0.8;
const ROTATE_MAX: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, thiserror::Error)]
pub(super) enum MountError {
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    Plan { volume: String, source: VolumeError },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    Io { volume: String, source: std::io::Error },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {text}")]
    Text { volume: String, text: String },
    #[error("volume sources cannot be fetched: {0}")]
    Api(String),
}

struct CachedToken {
    text: String,
    rotate_at: Instant,
}

#[derive(Default)]
struct State {
    /// By volume name.
    paths: BTreeMap<String, String>,
    ready: bool,
}

#[derive(Default)]
pub(super) struct PodVolumes {
    state: Mutex<State>,
    /// By volume and path. Also the lock of a preparation under way: one at a time a pod.
    tokens: tokio::sync::Mutex<BTreeMap<(String, String), CachedToken>>,
}

impl PodVolumes {
    pub fn is_ready(&self) -> bool {
        self.locked().ready
    }

    /// Host paths by volume name.
    pub fn paths(&self) -> BTreeMap<String, String> {
        self.locked().paths.clone()
    }

    /// Makes all volumes ready, unless they are.
    pub async fn prepare(
        &self,
        context: &Context,
        model: &PodModel,
        pod_ips: &[String],
    ) -> Result<(), MountError> {
        if self.is_ready() {
            return Ok(());
        }
        let mut tokens = self.tokens.lock().await;
        if self.is_ready() {
            return Ok(());
        }
        let paths = set_up(context, model, pod_ips, &mut tokens, false).await?;
        let mut state = self.locked();
        state.paths = paths;
        state.ready = true;
        Ok(())
    }

    /// Brings files up to date. What cannot be fetched stays as it is.
    pub async fn refresh(
        &self,
        context: &Context,
        model: &PodModel,
        pod_ips: &[String],
    ) -> Result<(), MountError> {
        let mut tokens = self.tokens.lock().await;
        set_up(context, model, pod_ips, &mut tokens, true).await.map(drop)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Tokens = BTreeMap<(String, String), CachedToken>;

async fn set_up(
    context: &Context,
    model: &PodModel,
    pod_ips: &[String],
    tokens: &mut Tokens,
    files_only: bool,
) -> Result<BTreeMap<String, String>, MountError> {
    let mut paths = BTreeMap::new();
    let volumes = model.pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let volumes: Vec<&Volume> = volumes.collect();
    if volumes.is_empty() {
        return Ok(paths);
    }
    let sources = sources::sources(context, model, pod_ips, Purpose::Volumes)
        .await
        .map_err(|error| MountError::Api(error.to_string()))?;
    for volume in volumes {
        let plan = volume_plan(model, volume, &sources).map_err(|source| MountError::Plan {
            volume: volume.name.clone(),
            source,
        })?;
        if files_only && !matches!(plan, VolumePlan::Files { .. }) {
            continue;
        }
        let path = one(context, model, volume, plan, tokens).await?;
        paths.insert(volume.name.clone(), path.to_string_lossy().into_owned());
    }
    Ok(paths)
}

async fn one(
    context: &Context,
    model: &PodModel,
    volume: &Volume,
    plan: VolumePlan,
    tokens: &mut Tokens,
) -> Result<PathBuf, MountError> {
    let io = |source| MountError::Io {
        volume: volume.name.clone(),
        source,
    };
    let spec = model.pod.spec.as_ref();
    let group = spec
        .and_then(|s| s.security_context.as_ref())
        .and_then(|s| s.fs_group);
    let own = |kind: &str| {
        let dir = context.pod_dir(&model.uid).join("volumes");
        dir.join(format!("kubernetes.io~{kind}")).join(&volume.name)
    };
    match plan {
        VolumePlan::EmptyDir {
            memory,
            size_limit_bytes,
        } => {
            let path = own("empty-dir");
            let options = EmptyDirOptions {
                memory,
                size_limit_bytes,
                group,
            };
            context.host.empty_directory(&path, options).await.map_err(io)?;
            Ok(path)
        }
        VolumePlan::HostPath { path, kind } => {
            let path = PathBuf::from(path);
            context.host.check_host_path(&path, &kind).await.map_err(io)?;
            Ok(path)
        }
        VolumePlan::Files {
            mut files,
            tokens: wanted,
        } => {
            for token in wanted {
                let text = current_token(context, model, &volume.name, &token, tokens).await?;
                let entry = FileEntry {
                    data: text.into_bytes(),
                    mode: token.mode,
                };
                files.insert(token.path, entry);
            }
            let path = own("projected");
            let version = context.env.clock.now().as_nanosecond().to_string();
            context
                .host
                .swap_files(&path, &files, group, &version)
                .await
                .map_err(io)?;
            Ok(path)
        }
        VolumePlan::Claim { name, .. } => claim(context, model, &volume.name, &name).await,
    }
}

/// Volumes that are a directory of this node: `hostPath` and `local`.
async fn claim(
    context: &Context,
    model: &PodModel,
    volume: &str,
    claim: &str,
) -> Result<PathBuf, MountError> {
    let text = |text: String| MountError::Text {
        volume: volume.to_owned(),
        text,
    };
    let found = context.objects.claim(&model.namespace, claim).await;
    let found = found.map_err(|error| MountError::Api(error.to_string()))?;
    let (_, bound) = found.ok_or_else(|| text(format!("persistentvolumeclaim \"{claim}\" not found")))?;
    let bound = bound.ok_or_else(|| text(format!("persistentvolumeclaim \"{claim}\" is not bound")))?;
    let (path, kind) = directory(&bound)
        .ok_or_else(|| text("only hostPath and local persistent volumes are supported".to_owned()))?;
    let path = Path::new(path);
    let checked = context.host.check_host_path(path, kind).await;
    checked.map_err(|error| text(error.to_string()))?;
    Ok(path.to_owned())
}

fn directory(volume: &PersistentVolume) -> Option<(&str, &str)> {
    let spec = volume.spec.as_ref()?;
    if let Some(host) = &spec.host_path {
        return Some((&host.path, host.type_.as_deref().unwrap_or("DirectoryOrCreate")));
    }
    spec.local
        .as_ref()
        .map(|local| (local.path.as_str(), "Directory"))
}

async fn current_token(
    context: &Context,
    model: &PodModel,
    volume: &str,
    wanted: &TokenProjection,
    tokens: &mut Tokens,
) -> Result<String, MountError> {
    let key = (volume.to_owned(), wanted.path.clone());
    if let Some(cached) = tokens.get(&key)
        && cached.rotate_at > Instant::now()
    {
        return Ok(cached.text.clone());
    }
    let failed = |text: String| MountError::Text {
        volume: volume.to_owned(),
        text: format!("failed to fetch token: {text}"),
    };
    let account = model
        .pod
        .spec
        .as_ref()
        .and_then(|s| s.service_account_name.clone())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "default".to_owned());
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(wanted.audience.iter().cloned().collect()),
            expiration_seconds: Some(wanted.expiration_seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(model.name.clone()),
                uid: Some(model.uid.clone()),
            }),
        }),
        ..TokenRequest::default()
    };
    let answer = context.objects.token(&model.namespace, &account, &request).await;
    let answer = match answer {
        Ok(answer) => answer,
        // An old token is better than none while it lasts.
        Err(error) => match tokens.get(&key) {
            Some(cached) => {
                tracing::warn!(pod = %model.name, %error, "token cannot be renewed yet");
                return Ok(cached.text.clone());
            }
            None => return Err(failed(error.to_string())),
        },
    };
    let status = answer.status.unwrap_or_default();
    let text = status
        .token
        .ok_or_else(|| failed("the answer holds none".to_owned()))?;
    let life = status
        .expiration_timestamp
        .map(|t| t.0.duration_since(context.env.clock.now()))
        .and_then(|life| Duration::try_from(life).ok())
        .unwrap_or_else(|| Duration::from_secs(u64::try_from(wanted.expiration_seconds).unwrap_or(3600)));
    let rotate_at = Instant::now() + life.mul_f64(ROTATE_AFTER).min(ROTATE_MAX);
    tokens.insert(
        key,
        CachedToken {
            text: text.clone(),
            rotate_at,
        },
    );
    Ok(text)
}
