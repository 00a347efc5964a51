//! What the plan of one Deployment reads, and the numbers derived from its spec.

use crate::object::MetaView;
use crate::proportion::{Round, scaled};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;

pub struct Observed {
    pub deployment: Arc<Deployment>,
    /// All ReplicaSets of the namespace.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// All pods of the namespace.
    pub pods: Vec<Arc<Pod>>,
    pub now: Timestamp,
}

/// The Deployment's wishes as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    pub replicas: i32,
    pub rolling: bool,
    /// Zero unless rolling.
    pub max_surge: i32,
    /// At most `replicas`; zero unless rolling.
    pub max_unavailable: i32,
    /// `None`: without end.
    pub progress_deadline: Option<i32>,
    pub paused: bool,
}

impl Wishes {
    /// Source: `deployment/util.ResolveFenceposts`, `MaxUnavailable`, `MaxSurge`, `HasProgressDeadline` (1.36).
    pub fn of(spec: &DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate");
        let update = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".into());
        let limit = |value: Option<&IntOrString>, round| {
            scaled(value.unwrap_or(&quarter), replicas, round)
                .unwrap_or(0)
                .max(0)
        };
        let max_surge = limit(update.and_then(|update| update.max_surge.as_ref()), Round::Up);
        let mut max_unavailable = limit(
            update.and_then(|update| update.max_unavailable.as_ref()),
            Round::Down,
        );
        if max_surge == 0 && max_unavailable == 0 {
            // Rounding must not make progress impossible.
            max_unavailable = 1;
        }
        Self {
            replicas,
            rolling,
            max_surge: if rolling { max_surge } else { 0 },
            max_unavailable: if rolling { max_unavailable.min(replicas) } else { 0 },
            progress_deadline: Some(spec.progress_deadline_seconds.unwrap_or(600)).filter(|&s| s != i32::MAX),
            paused: spec.paused.unwrap_or(false),
        }
    }
}

/// The ReplicaSets of a Deployment: the one of the current template, and the rest from old to young.
#[derive(Clone, Default)]
pub struct Revisions {
    pub new: Option<Arc<ReplicaSet>>,
    pub old: Vec<Arc<ReplicaSet>>,
}

impl Revisions {
    /// Source: `deployment/util.FindNewReplicaSet`, `FindOldReplicaSets` (1.36).
    pub fn sort(deployment: &DeploymentSpec, mut owned: Vec<Arc<ReplicaSet>>) -> Self {
        owned.sort_by_key(|set| (set.metadata.created_at(), set.metadata.name().to_owned()));
        let current = owned.iter().position(|set| {
            let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            template
                .is_some_and(|template| crate::pod_template::same_template(template, &deployment.template))
        });
        let new = current.map(|at| owned.remove(at));
        Self { new, old: owned }
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }
}

/// `spec.replicas`, which the API server defaults to one.
pub fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub fn available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
}

pub fn actual(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}
