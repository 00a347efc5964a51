//! What each volume of a pod is made of.
//!
//! Follows kubelet `pkg/volume/{configmap,secret,downwardapi,projected}` of Kubernetes 1.36.

use crate::container::{EnvironmentSources, field_value, resource_value};
use crate::pod_model::PodModel;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume};
use std::collections::BTreeMap;

const DEFAULT_MODE: i32 = 0o644;
/// Upstream's default life of a projected token, and its lower bound.
const TOKEN_SECONDS: i64 = 3600;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// A service account token to be requested and put into the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenProjection {
    pub path: String,
    pub audience: Option<String>,
    pub expiration_seconds: i64,
    pub mode: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumePlan {
    EmptyDir {
        memory: bool,
        size_limit_bytes: Option<i64>,
    },
    HostPath {
        path: String,
        /// `DirectoryOrCreate`, `File`, … or empty for no check.
        kind: String,
    },
    /// Files by path relative to the volume, swapped in as a whole.
    Files {
        files: BTreeMap<String, FileEntry>,
        tokens: Vec<TokenProjection>,
    },
    Claim {
        name: String,
        read_only: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: &'static str, name: String },
    #[error("references non-existent {kind} key: {key}")]
    KeyMissing { kind: &'static str, key: String },
    #[error("invalid path \"{0}\"")]
    Path(String),
    #[error("volume type of \"{0}\" is not supported by this node agent")]
    Unsupported(String),
    #[error("{0}")]
    Downward(String),
}

type Files = BTreeMap<String, FileEntry>;

/// # Errors
/// A source that is missing and not optional, a bad path, a volume type that the agent does not know.
pub fn volume_plan(
    model: &PodModel,
    volume: &Volume,
    sources: &EnvironmentSources,
) -> Result<VolumePlan, VolumeError> {
    if let Some(empty) = &volume.empty_dir {
        return Ok(VolumePlan::EmptyDir {
            memory: empty.medium.as_deref() == Some("Memory"),
            size_limit_bytes: empty
                .size_limit
                .as_ref()
                .map(|limit| quantity::whole(&limit.0))
                .filter(|s| *s > 0),
        });
    }
    if let Some(host) = &volume.host_path {
        return Ok(VolumePlan::HostPath {
            path: host.path.clone(),
            kind: host.type_.clone().unwrap_or_default(),
        });
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return Ok(VolumePlan::Claim {
            name: claim.claim_name.clone(),
            read_only: claim.read_only == Some(true),
        });
    }
    if volume.ephemeral.is_some() {
        return Ok(VolumePlan::Claim {
            name: format!("{}-{}", model.name, volume.name),
            read_only: false,
        });
    }
    let mut files = Files::new();
    let mut tokens = Vec::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional == Some(true);
        config_map(
            &mut files,
            sources,
            &source.name,
            source.items.as_deref(),
            mode,
            optional,
        )?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional == Some(true);
        secret(&mut files, sources, name, source.items.as_deref(), mode, optional)?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for item in source.items.iter().flatten() {
            downward(&mut files, model, item, sources, mode)?;
        }
    } else if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for part in source.sources.iter().flatten() {
            if let Some(c) = &part.config_map {
                let optional = c.optional == Some(true);
                config_map(&mut files, sources, &c.name, c.items.as_deref(), mode, optional)?;
            }
            if let Some(s) = &part.secret {
                let optional = s.optional == Some(true);
                secret(&mut files, sources, &s.name, s.items.as_deref(), mode, optional)?;
            }
            for item in part.downward_api.iter().flat_map(|d| d.items.iter().flatten()) {
                downward(&mut files, model, item, sources, mode)?;
            }
            if let Some(token) = &part.service_account_token {
                check_path(&token.path)?;
                tokens.push(TokenProjection {
                    path: token.path.clone(),
                    audience: token.audience.clone().filter(|a| !a.is_empty()),
                    expiration_seconds: token.expiration_seconds.unwrap_or(TOKEN_SECONDS),
                    mode: to_mode(token_mode(model, mode)),
                });
            }
            if part.cluster_trust_bundle.is_some() || part.pod_certificate.is_some() {
                return Err(VolumeError::Unsupported(volume.name.clone()));
            }
        }
    } else {
        return Err(VolumeError::Unsupported(volume.name.clone()));
    }
    Ok(VolumePlan::Files { files, tokens })
}

/// A token that some container reads as another user than root must be readable by all of the pod: the
/// volume belongs to root here (upstream changes the owner instead).
fn token_mode(model: &PodModel, mode: i32) -> i32 {
    let fs_group = model
        .pod
        .spec
        .as_ref()
        .and_then(|s| s.security_context.as_ref())
        .and_then(|s| s.fs_group);
    if fs_group.is_some() { 0o640 } else { mode }
}

fn config_map(
    files: &mut Files,
    sources: &EnvironmentSources,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
) -> Result<(), VolumeError> {
    let Some(map) = sources.config_maps.get(name) else {
        return absent("configmap", name, optional);
    };
    let mut data: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for (key, value) in map.data.iter().flatten() {
        data.insert(key, value.clone().into_bytes());
    }
    for (key, value) in map.binary_data.iter().flatten() {
        data.insert(key, value.0.clone());
    }
    project(files, "config", data, items, mode, optional)
}

fn secret(
    files: &mut Files,
    sources: &EnvironmentSources,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
) -> Result<(), VolumeError> {
    let Some(secret) = sources.secrets.get(name) else {
        return absent("secret", name, optional);
    };
    let data = secret
        .data
        .iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v.0.clone()))
        .collect();
    project(files, "secret", data, items, mode, optional)
}

fn absent(kind: &'static str, name: &str, optional: bool) -> Result<(), VolumeError> {
    if optional {
        return Ok(());
    }
    Err(VolumeError::NotFound {
        kind,
        name: name.to_owned(),
    })
}

fn project(
    files: &mut Files,
    kind: &'static str,
    mut data: BTreeMap<&str, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
) -> Result<(), VolumeError> {
    let Some(items) = items else {
        for (key, data) in data {
            let mode = to_mode(mode);
            files.insert(key.to_owned(), FileEntry { data, mode });
        }
        return Ok(());
    };
    for item in items {
        check_path(&item.path)?;
        match data.get_mut(item.key.as_str()) {
            Some(data) => {
                let mode = to_mode(item.mode.unwrap_or(mode));
                let data = data.clone();
                files.insert(item.path.clone(), FileEntry { data, mode });
            }
            None if optional => {}
            None => {
                return Err(VolumeError::KeyMissing {
                    kind,
                    key: item.key.clone(),
                });
            }
        }
    }
    Ok(())
}

fn downward(
    files: &mut Files,
    model: &PodModel,
    item: &DownwardAPIVolumeFile,
    sources: &EnvironmentSources,
    mode: i32,
) -> Result<(), VolumeError> {
    check_path(&item.path)?;
    let value = if let Some(field) = &item.field_ref {
        field_value(model, &field.field_path, &sources.pod_ips, &sources.host_ips)
    } else if let Some(resource) = &item.resource_field_ref {
        resource_value(model, resource, "", &sources.allocatable)
    } else {
        return Err(VolumeError::Path(item.path.clone()));
    };
    let data = value
        .map_err(|error| VolumeError::Downward(error.to_string()))?
        .into_bytes();
    let mode = to_mode(item.mode.unwrap_or(mode));
    files.insert(item.path.clone(), FileEntry { data, mode });
    Ok(())
}

/// Relative, and never upwards.
fn check_path(path: &str) -> Result<(), VolumeError> {
    let bad = path.is_empty()
        || path.starts_with('/')
        || path.split('/').any(|part| part == "..")
        || path.starts_with("..");
    if bad {
        return Err(VolumeError::Path(path.to_owned()));
    }
    Ok(())
}

fn to_mode(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0o644) & 0o7777
}
