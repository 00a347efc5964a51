//! Recreate: nothing old may be left before anything new starts.
//! Source: `pkg/controller/deployment/recreate.go` (1.36).

use super::observed::{Observed, Revisions, Wishes, wanted};
use super::{revision, scaling};
use crate::action::Action;
use crate::object::MetaView;
use crate::pod_state;
use k8s_openapi::api::apps::v1::DeploymentSpec;

pub fn roll(
    observed: &Observed,
    spec: &DeploymentSpec,
    wishes: &Wishes,
    revisions: &Revisions,
) -> Vec<Action> {
    let deployment = observed.deployment.as_ref();
    let stopped: Vec<Action> = revisions
        .old
        .iter()
        .filter(|set| wanted(set) > 0)
        .flat_map(|set| scaling::resize(deployment, wishes, set, 0))
        .collect();
    if !stopped.is_empty() {
        return stopped;
    }
    let old_runs = observed.pods.iter().any(|pod| {
        !pod_state::is_finished(pod)
            && revisions
                .old
                .iter()
                .any(|set| pod.metadata.is_controlled_by(set.metadata.uid()))
    });
    if old_runs {
        return Vec::new();
    }
    match &revisions.new {
        None => revision::create(observed, spec, wishes, revisions, wishes.replicas),
        Some(new) => scaling::resize(deployment, wishes, new, wishes.replicas),
    }
}
