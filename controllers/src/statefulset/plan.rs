//! The plan for one StatefulSet.
//! Source: `pkg/controller/statefulset/stateful_set_control.go` `updateStatefulSet` (1.36).
//!
//! Invariants:
//! - A pod of an ordinal is created only when no object of that name exists, so two never run at once.
//! - With `OrderedReady` at most one pod changes at a time, and only while all before it are healthy.

use super::identity::{claims, ordinal_of, pod, pod_name};
use super::status;
use crate::action::{Action, Plan};
use crate::adoption;
use crate::history::{self, History, REVISION_HASH, history, template_of};
use crate::object::{MetaView, controller_reference};
use crate::pod_state;
use crate::selector;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Observed {
    pub set: Arc<StatefulSet>,
    /// All pods of the namespace.
    pub pods: Vec<Arc<Pod>>,
    /// All claims of the namespace.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// All revisions of the namespace.
    pub revisions: Vec<Arc<ControllerRevision>>,
    pub now: Timestamp,
}

/// The set's pods by ordinal, and its numbers.
pub struct View<'a> {
    pub observed: &'a Observed,
    pub spec: &'a StatefulSetSpec,
    pub ordinals: std::ops::Range<i32>,
    pub by_ordinal: BTreeMap<i32, Arc<Pod>>,
    /// Names of revisions: of the template that was complete last, and of the current one.
    pub current: String,
    pub update: String,
    pub min_ready: i32,
}

impl View<'_> {
    fn is_healthy(&self, pod: &Pod) -> bool {
        !pod.metadata.is_terminating() && pod_state::is_available(pod, self.min_ready, self.observed.now)
    }

    pub fn revision<'p>(&self, pod: &'p Pod) -> &'p str {
        pod.metadata.label(REVISION_HASH).unwrap_or_default()
    }
}

pub fn plan(observed: &Observed) -> Plan {
    let set = observed.set.as_ref();
    let Some(spec) = &set.spec else {
        return Plan::nothing();
    };
    if selector::is_empty(&spec.selector) {
        return Plan::nothing();
    }
    let reference = controller_reference::<StatefulSet>(&set.metadata);
    let named = observed
        .pods
        .iter()
        .filter(|pod| ordinal_of(set, pod).is_some())
        .cloned();
    let claimed = adoption::claim(set, &reference, named, |meta| {
        selector::selects(&spec.selector, meta.labels.as_ref())
    });
    if !claimed.actions.is_empty() {
        return claimed.actions.into();
    }
    let before = set.status.clone().unwrap_or_default();
    let history = history(
        &set.metadata,
        &reference,
        &spec.template,
        before.collision_count,
        &observed.revisions,
    );
    let update = history.update.metadata.name().to_owned();
    let known = |name: &String| {
        history
            .all
            .iter()
            .any(|revision| revision.metadata.name() == name)
    };
    let start = spec
        .ordinals
        .as_ref()
        .and_then(|ordinals| ordinals.start)
        .unwrap_or(0);
    let view = View {
        observed,
        spec,
        ordinals: start..start + spec.replicas.unwrap_or(1),
        by_ordinal: claimed
            .owned
            .iter()
            .filter_map(|pod| Some((ordinal_of(set, pod)?, Arc::clone(pod))))
            .collect(),
        current: before
            .current_revision
            .clone()
            .filter(known)
            .unwrap_or_else(|| update.clone()),
        update,
        min_ready: spec.min_ready_seconds.unwrap_or(0),
    };
    let mut plan = Plan::nothing();
    status::write(&mut plan, &view);
    if set.metadata.is_terminating() {
        return plan;
    }
    if let Some(action) = history.action.clone() {
        plan.push(action);
        return plan;
    }
    let steps = steps(&view, &history);
    if steps.is_empty() {
        let in_use = |revision: &ControllerRevision| {
            let name = revision.metadata.name();
            name == view.current || view.by_ordinal.values().any(|pod| view.revision(pod) == name)
        };
        plan.actions.extend(history::truncate(
            &history,
            spec.revision_history_limit.unwrap_or(10),
            in_use,
        ));
    }
    plan.actions.extend(steps);
    plan
}

fn steps(view: &View<'_>, history: &History) -> Vec<Action> {
    let monotonic = view.spec.pod_management_policy.as_deref() != Some("Parallel");
    let mut actions = Vec::new();
    for ordinal in view.ordinals.clone() {
        let (step, blocks) = replica(view, history, ordinal);
        let acted = !step.is_empty();
        actions.extend(step);
        if monotonic && (acted || blocks) {
            return actions;
        }
    }
    let condemned = || {
        view.by_ordinal
            .iter()
            .rev()
            .filter(|(ordinal, _)| !view.ordinals.contains(ordinal))
    };
    let first_unhealthy = view
        .by_ordinal
        .values()
        .find(|pod| !view.is_healthy(pod))
        .map(|pod| pod.metadata.name());
    for (ordinal, pod) in condemned() {
        if pod.metadata.is_terminating() {
            if monotonic {
                return actions;
            }
            continue;
        }
        if monotonic && !view.is_healthy(pod) && first_unhealthy != Some(pod.metadata.name()) {
            // A lower one is ill: scaling down now could lose the last good copy.
            return actions;
        }
        actions.extend(scale_down_claims(view, *ordinal, pod));
        actions.push(Action::delete(pod.as_ref()));
        if monotonic {
            return actions;
        }
    }
    if actions.is_empty() {
        actions.extend(roll(view));
    }
    actions
}

/// One ordinal: what to do, and whether the ones after it must wait.
fn replica(view: &View<'_>, history: &History, ordinal: i32) -> (Vec<Action>, bool) {
    let set = view.observed.set.as_ref();
    let Some(present) = view.by_ordinal.get(&ordinal) else {
        let name = pod_name(set, ordinal);
        if view.observed.pods.iter().any(|pod| pod.metadata.name() == name) {
            // Somebody else's pod has the name: it must go by other means.
            return (Vec::new(), true);
        }
        let revision = revision_for(view, history, ordinal);
        let template = template_of(revision).unwrap_or_else(|| view.spec.template.clone());
        let mut actions: Vec<Action> = missing_claims(view, ordinal).iter().map(Action::create).collect();
        actions.push(Action::create(&pod(
            set,
            view.spec,
            &template,
            ordinal,
            revision.metadata.name(),
        )));
        return (actions, true);
    };
    if pod_state::is_finished(present) && !present.metadata.is_terminating() {
        return (vec![Action::delete(present.as_ref())], true);
    }
    let claims: Vec<Action> = missing_claims(view, ordinal).iter().map(Action::create).collect();
    (claims, !view.is_healthy(present))
}

/// Ordinals below the partition keep the revision that was complete last.
fn revision_for<'h>(view: &View<'_>, history: &'h History, ordinal: i32) -> &'h ControllerRevision {
    let below = ordinal < view.ordinals.start + partition(view.spec);
    let current = history
        .all
        .iter()
        .find(|revision| revision.metadata.name() == view.current);
    current
        .filter(|_| below)
        .map_or(&history.update, |revision| revision.as_ref())
}

fn partition(spec: &StatefulSetSpec) -> i32 {
    let strategy = spec.update_strategy.as_ref();
    strategy
        .and_then(|strategy| strategy.rolling_update.as_ref())
        .and_then(|rolling| rolling.partition)
        .unwrap_or(0)
}

fn missing_claims(view: &View<'_>, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let exists = |claim: &PersistentVolumeClaim| {
        view.observed
            .claims
            .iter()
            .any(|other| other.metadata.name() == claim.metadata.name())
    };
    claims(view.observed.set.as_ref(), view.spec, ordinal)
        .into_iter()
        .filter(|claim| !exists(claim))
        .collect()
}

/// With `whenScaled: Delete` a claim follows its pod: the pod becomes its owner before it goes.
fn scale_down_claims(view: &View<'_>, ordinal: i32, pod: &Arc<Pod>) -> Vec<Action> {
    let policy = view.spec.persistent_volume_claim_retention_policy.as_ref();
    if policy.and_then(|policy| policy.when_scaled.as_deref()) != Some("Delete") {
        return Vec::new();
    }
    let owner = OwnerReference {
        controller: None,
        block_owner_deletion: None,
        ..controller_reference::<Pod>(&pod.metadata)
    };
    let names: Vec<String> = claims(view.observed.set.as_ref(), view.spec, ordinal)
        .into_iter()
        .map(|claim| claim.metadata.name().to_owned())
        .collect();
    view.observed
        .claims
        .iter()
        .filter(|claim| names.iter().any(|name| name == claim.metadata.name()))
        .filter(|claim| !claim.metadata.owners().iter().any(|have| have.uid == owner.uid))
        .map(|claim| Action::patch_seen(claim.as_ref(), json!({"metadata": {"ownerReferences": [owner]}})))
        .collect()
}

/// Replaces one outdated pod, from the highest ordinal, while all above it are healthy.
fn roll(view: &View<'_>) -> Vec<Action> {
    let strategy = view
        .spec
        .update_strategy
        .as_ref()
        .and_then(|strategy| strategy.type_.as_deref());
    if strategy == Some("OnDelete") {
        return Vec::new();
    }
    let lowest = view.ordinals.start + partition(view.spec);
    for ordinal in (lowest..view.ordinals.end).rev() {
        let Some(pod) = view.by_ordinal.get(&ordinal) else {
            return Vec::new();
        };
        if view.revision(pod) != view.update && !pod.metadata.is_terminating() {
            return vec![Action::delete(pod.as_ref())];
        }
        if !view.is_healthy(pod) {
            return Vec::new();
        }
    }
    Vec::new()
}
