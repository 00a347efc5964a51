//! The order of decisions for one Deployment.
//! Source: `pkg/controller/deployment/deployment_controller.go` `syncDeployment`, `sync.go` (1.36).

use super::observed::{Observed, Revisions, Wishes, actual, wanted};
use super::{recreate, revision, rolling, scaling, status};
use crate::action::{Action, Plan};
use crate::adoption;
use crate::object::{MetaView, controller_reference};
use crate::selector;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};

pub fn plan(observed: &Observed) -> Plan {
    let deployment = observed.deployment.as_ref();
    let Some(spec) = &deployment.spec else {
        return Plan::nothing();
    };
    if selector::is_empty(&spec.selector) {
        return vec![Action::record(
            deployment,
            true,
            "SelectingAll",
            "This deployment is selecting all pods. A non-empty selector is required.".into(),
        )]
        .into();
    }
    let reference = controller_reference::<Deployment>(&deployment.metadata);
    let claimed = adoption::claim(deployment, &reference, observed.sets.iter().cloned(), |meta| {
        selector::selects(&spec.selector, meta.labels.as_ref())
    });
    if !claimed.actions.is_empty() {
        return claimed.actions.into();
    }
    let wishes = Wishes::of(spec);
    let revisions = Revisions::sort(spec, claimed.owned);
    let mut plan = Plan::nothing();
    status::write(&mut plan, observed, &wishes, &revisions);
    if !deployment.metadata.is_terminating() {
        plan.actions.extend(progress(observed, spec, &wishes, &revisions));
    }
    plan
}

/// The writes to ReplicaSets: at most one step at a time, as the next needs the outcome of the one before.
fn progress(
    observed: &Observed,
    spec: &DeploymentSpec,
    wishes: &Wishes,
    revisions: &Revisions,
) -> Vec<Action> {
    let deployment = observed.deployment.as_ref();
    let mut actions = Vec::new();
    if let Some(new) = &revisions.new {
        actions.extend(revision::refresh(deployment, spec, new, &revisions.old));
    }
    if !actions.is_empty() {
        return actions;
    }
    if wishes.paused || scaling::was_scaled(wishes, revisions) {
        actions.extend(scaling::scale(deployment, wishes, revisions));
        if wishes.paused && actions.is_empty() {
            actions.extend(clean_up(spec, revisions));
        }
        return actions;
    }
    let steps = if wishes.rolling {
        rolling::roll(observed, spec, wishes, revisions)
    } else {
        recreate::roll(observed, spec, wishes, revisions)
    };
    actions.extend(steps);
    if actions.is_empty() && status::is_complete(deployment, wishes, revisions) {
        actions.extend(clean_up(spec, revisions));
    }
    actions
}

/// Deletes the oldest unused ReplicaSets beyond the history limit. Source: `cleanupDeployment` (1.36).
fn clean_up(spec: &DeploymentSpec, revisions: &Revisions) -> Vec<Action> {
    let limit = spec.revision_history_limit.unwrap_or(10);
    if limit == i32::MAX {
        return Vec::new();
    }
    let mut alive: Vec<_> = revisions
        .old
        .iter()
        .filter(|set| !set.metadata.is_terminating())
        .collect();
    let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    alive.sort_by_key(|set| revision::of(&set.metadata));
    alive
        .into_iter()
        .take(surplus)
        .filter(|set| is_unused(set))
        .map(|set| Action::delete(set.as_ref()))
        .collect()
}

fn is_unused(set: &ReplicaSet) -> bool {
    let observed_generation = set
        .status
        .as_ref()
        .and_then(|status| status.observed_generation)
        .unwrap_or(0);
    actual(set) == 0 && wanted(set) == 0 && set.metadata.generation.unwrap_or(0) <= observed_generation
}
