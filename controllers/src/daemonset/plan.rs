//! The plan for one DaemonSet.
//! Source: `pkg/controller/daemon/daemon_controller.go` `manage`, `podsShouldBeOnNode`, `updateDaemonSetStatus` (1.36).

use super::placement::{Placement, daemon_spec, place, pod_for};
use super::update;
use crate::action::{Action, Plan};
use crate::adoption;
use crate::history::{self, REVISION_HASH, hash_of, history};
use crate::node_affinity::target_node;
use crate::object::{MetaView, controller_reference};
use crate::pod_state;
use crate::selector;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A failed daemon pod is replaced no sooner than this after it was created. Upstream: 1 s growing to 15 min; the
/// node agent's own restarts come first, so failed daemon pods are rare (evicted or refused ones).
const FAILED_PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// Pods created or deleted in one plan. Source: `BurstReplicas`.
const BURST: usize = 250;

pub struct Observed {
    pub set: Arc<DaemonSet>,
    /// All pods of the namespace.
    pub pods: Vec<Arc<Pod>>,
    pub nodes: Vec<Arc<Node>>,
    /// All revisions of the namespace.
    pub revisions: Vec<Arc<ControllerRevision>>,
    pub now: Timestamp,
}

/// One node with its daemon pods, oldest first.
pub struct OnNode<'a> {
    pub node: &'a str,
    pub placement: Placement,
    pub pods: Vec<&'a Arc<Pod>>,
}

pub fn plan(observed: &Observed) -> Plan {
    let set = observed.set.as_ref();
    let Some(spec) = &set.spec else {
        return Plan::nothing();
    };
    if selector::is_empty(&spec.selector) {
        return Plan::nothing();
    }
    let reference = controller_reference::<DaemonSet>(&set.metadata);
    let claimed = adoption::claim(set, &reference, observed.pods.iter().cloned(), |meta| {
        selector::selects(&spec.selector, meta.labels.as_ref())
    });
    if !claimed.actions.is_empty() {
        return claimed.actions.into();
    }
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let history = history(
        &set.metadata,
        &reference,
        &spec.template,
        collisions,
        &observed.revisions,
    );
    let hash = hash_of(&history.update).to_owned();
    let here = by_node(observed, &claimed.owned);
    let mut plan = Plan::nothing();
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    status(&mut plan, observed, &here, &hash, min_ready);
    if set.metadata.is_terminating() {
        return plan;
    }
    if let Some(action) = history.action.clone() {
        // Pods name the revision: it must be there first.
        plan.push(action);
        return plan;
    }
    let mut create = Vec::new();
    let mut delete: Vec<&Arc<Pod>> = Vec::new();
    for on_node in &here {
        place_pods(&mut plan, on_node, observed.now, &mut create, &mut delete);
    }
    if create.is_empty() && delete.is_empty() {
        let step = update::step(observed, spec, &here, &hash);
        create = step.create;
        delete = step.delete;
    }
    let deletions: Vec<Action> = delete
        .into_iter()
        .take(BURST)
        .map(|pod| Action::delete(pod.as_ref()))
        .collect();
    let creations: Vec<Action> = create
        .into_iter()
        .take(BURST)
        .map(|node| Action::create(&pod_for(set, &spec.template, node, &hash)))
        .collect();
    let idle = deletions.is_empty() && creations.is_empty();
    plan.actions.extend(
        [deletions, creations]
            .into_iter()
            .filter(|batch| !batch.is_empty())
            .map(Action::Batch),
    );
    if idle {
        let limit = spec.revision_history_limit.unwrap_or(10);
        plan.actions
            .extend(history::truncate(&history, limit, |revision| {
                let hash = hash_of(revision);
                claimed
                    .owned
                    .iter()
                    .any(|pod| pod.metadata.label(REVISION_HASH) == Some(hash))
            }));
    }
    plan
}

fn by_node<'a>(observed: &'a Observed, owned: &'a [Arc<Pod>]) -> Vec<OnNode<'a>> {
    let template = observed
        .set
        .spec
        .as_ref()
        .map(|spec| daemon_spec(&spec.template))
        .unwrap_or_default();
    let mut pods: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in owned {
        if let Some(node) = pod.spec.as_ref().and_then(target_node) {
            pods.entry(node).or_default().push(pod);
        }
    }
    observed
        .nodes
        .iter()
        .map(|node| {
            let name = node.metadata.name();
            let mut pods = pods.remove(name).unwrap_or_default();
            pods.sort_by_key(|pod| (pod.metadata.created_at(), pod.metadata.name().to_owned()));
            OnNode {
                node: name,
                placement: place(&template, node),
                pods,
            }
        })
        .collect()
}

/// One working pod on each node that wants one, none elsewhere. The two of an update with surge are left alone.
fn place_pods<'a>(
    plan: &mut Plan,
    on_node: &OnNode<'a>,
    now: Timestamp,
    create: &mut Vec<&'a str>,
    delete: &mut Vec<&'a Arc<Pod>>,
) {
    let present: Vec<&&Arc<Pod>> = on_node
        .pods
        .iter()
        .filter(|pod| !pod.metadata.is_terminating())
        .collect();
    if !on_node.placement.stays {
        delete.extend(present.into_iter().copied());
        return;
    }
    let (ended, working): (Vec<&&Arc<Pod>>, Vec<&&Arc<Pod>>) =
        present.into_iter().partition(|pod| pod_state::is_finished(pod));
    for pod in ended {
        let age = now.duration_since(pod.metadata.created_at());
        match Duration::try_from(FAILED_PAUSE - age) {
            Ok(wait) if !wait.is_zero() => plan.look_again(wait),
            _ => delete.push(pod),
        }
    }
    // A pod that is being deleted still holds its ports and files: the next one waits for it.
    if on_node.pods.is_empty() && on_node.placement.starts {
        create.push(on_node.node);
    }
    let revision = |pod: &Arc<Pod>| pod.metadata.label(REVISION_HASH).map(str::to_owned);
    let mut seen = Vec::new();
    for pod in working {
        // Of one revision the oldest stays.
        if seen.contains(&revision(pod)) {
            delete.push(pod);
        }
        seen.push(revision(pod));
    }
}

fn status(plan: &mut Plan, observed: &Observed, here: &[OnNode<'_>], hash: &str, min_ready: i32) {
    let set = observed.set.as_ref();
    let before = set.status.clone().unwrap_or_default();
    let mut after = DaemonSetStatus {
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
        observed_generation: set.metadata.generation,
        ..DaemonSetStatus::default()
    };
    let (mut available, mut updated) = (0, 0);
    for on_node in here {
        let first = on_node
            .pods
            .iter()
            .find(|pod| !pod.metadata.is_terminating())
            .or(on_node.pods.first());
        if !on_node.placement.starts {
            after.number_misscheduled += i32::from(first.is_some());
            continue;
        }
        after.desired_number_scheduled += 1;
        let Some(pod) = first else { continue };
        after.current_number_scheduled += 1;
        after.number_ready += i32::from(pod_state::is_ready(pod));
        available += i32::from(pod_state::is_available(pod, min_ready, observed.now));
        updated += i32::from(pod.metadata.label(REVISION_HASH) == Some(hash));
        if let Some(wait) = pod_state::available_in(pod, min_ready, observed.now) {
            plan.look_again(wait);
        }
    }
    let some = |n: i32| Some(n).filter(|&n| n != 0);
    after.number_available = some(available);
    after.number_unavailable = some(after.desired_number_scheduled - available);
    after.updated_number_scheduled = some(updated);
    let normal = |status: &DaemonSetStatus| DaemonSetStatus {
        number_available: some(status.number_available.unwrap_or(0)),
        number_unavailable: some(status.number_unavailable.unwrap_or(0)),
        updated_number_scheduled: some(status.updated_number_scheduled.unwrap_or(0)),
        observed_generation: Some(status.observed_generation.unwrap_or(0)),
        ..status.clone()
    };
    if normal(&before) != normal(&after) {
        let mut updated = set.clone();
        updated.status = Some(after);
        plan.push(Action::update_status(&updated));
    }
}
