//! The ConfigMaps and Secrets that a pod names, so that the shell can fetch them beforehand.

use crate::pod_model::PodModel;
use std::collections::BTreeSet;

/// Names in the pod's namespace, apart for the environment and for volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    pub environment_config_maps: BTreeSet<String>,
    pub environment_secrets: BTreeSet<String>,
    pub volume_config_maps: BTreeSet<String>,
    pub volume_secrets: BTreeSet<String>,
    pub pull_secrets: Vec<String>,
}

pub fn references(model: &PodModel) -> References {
    let mut found = References::default();
    for container in &model.containers {
        for from in container.spec.env_from.iter().flatten() {
            found
                .environment_config_maps
                .extend(from.config_map_ref.iter().map(|r| r.name.clone()));
            found
                .environment_secrets
                .extend(from.secret_ref.iter().map(|r| r.name.clone()));
        }
        for from in container
            .spec
            .env
            .iter()
            .flatten()
            .filter_map(|e| e.value_from.as_ref())
        {
            found
                .environment_config_maps
                .extend(from.config_map_key_ref.iter().map(|r| r.name.clone()));
            found
                .environment_secrets
                .extend(from.secret_key_ref.iter().map(|r| r.name.clone()));
        }
    }
    let Some(spec) = &model.pod.spec else { return found };
    for volume in spec.volumes.iter().flatten() {
        found
            .volume_config_maps
            .extend(volume.config_map.iter().map(|c| c.name.clone()));
        found
            .volume_secrets
            .extend(volume.secret.iter().filter_map(|s| s.secret_name.clone()));
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            found
                .volume_config_maps
                .extend(source.config_map.iter().map(|c| c.name.clone()));
            found
                .volume_secrets
                .extend(source.secret.iter().map(|s| s.name.clone()));
        }
    }
    found.pull_secrets = spec
        .image_pull_secrets
        .iter()
        .flatten()
        .map(|s| s.name.clone())
        .collect();
    found
}
