//! RollingUpdate: one step towards the current template.
//! Source: `pkg/controller/deployment/rolling.go` (1.36).
//!
//! Invariants, as far as the observed counts are true:
//! - The sum of all sizes never grows above `replicas + maxSurge`.
//! - No step takes available pods below `replicas - maxUnavailable`.

use super::observed::{Observed, Revisions, Wishes, available, wanted};
use super::{revision, scaling};
use crate::action::Action;
use k8s_openapi::api::apps::v1::{DeploymentSpec, ReplicaSet};
use std::sync::Arc;

pub fn roll(
    observed: &Observed,
    spec: &DeploymentSpec,
    wishes: &Wishes,
    revisions: &Revisions,
) -> Vec<Action> {
    let deployment = observed.deployment.as_ref();
    let Some(new) = &revisions.new else {
        let size = new_size(wishes, revisions, 0);
        return revision::create(observed, spec, wishes, revisions, size);
    };
    let size = if wanted(new) > wishes.replicas {
        wishes.replicas
    } else {
        new_size(wishes, revisions, wanted(new))
    };
    let grown = scaling::resize(deployment, wishes, new, size);
    if !grown.is_empty() {
        return grown;
    }
    shrunk_sizes(wishes, new, &revisions.old)
        .into_iter()
        .flat_map(|(set, size)| scaling::resize(deployment, wishes, &set, size))
        .collect()
}

/// How large the current ReplicaSet may be now. Source: `NewRSNewReplicas` (1.36).
pub fn new_size(wishes: &Wishes, revisions: &Revisions, current: i32) -> i32 {
    let total: i32 = revisions.all().map(|set| wanted(set)).sum();
    let room = wishes.replicas + wishes.max_surge - total;
    if room <= 0 {
        return current;
    }
    current + room.min(wishes.replicas - current)
}

/// New sizes of the old ReplicaSets that shrink: first the pods that don't work anyway, then, oldest first, as many
/// as availability allows.
pub fn shrunk_sizes(
    wishes: &Wishes,
    new: &ReplicaSet,
    old: &[Arc<ReplicaSet>],
) -> Vec<(Arc<ReplicaSet>, i32)> {
    let total: i32 = old.iter().map(|set| wanted(set)).sum::<i32>() + wanted(new);
    let min_available = wishes.replicas - wishes.max_unavailable;
    let new_unavailable = wanted(new) - staying(new);
    let removable = total - min_available - new_unavailable;
    if removable <= 0 || old.iter().all(|set| wanted(set) == 0) {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = old.iter().map(|set| wanted(set)).collect();
    let mut unhealthy = removable;
    for (set, size) in old.iter().zip(&mut sizes) {
        let broken = (*size - available(set)).max(0).min(unhealthy);
        *size -= broken;
        unhealthy -= broken;
    }
    let available_now: i32 = old.iter().map(|set| staying(set)).sum::<i32>() + staying(new);
    let mut spare = (available_now - min_available).max(0);
    for size in &mut sizes {
        let fewer = spare.min(*size);
        *size -= fewer;
        spare -= fewer;
    }
    old.iter()
        .zip(sizes)
        .filter(|(set, size)| wanted(set) != *size)
        .map(|(set, size)| (Arc::clone(set), size))
        .collect()
}

/// Pods that are available and stay so as far as this ReplicaSet goes: one that was told to shrink still counts those
/// that it is about to delete. Upstream takes them for available, and can take one too many away.
pub fn staying(set: &ReplicaSet) -> i32 {
    available(set).min(wanted(set))
}
