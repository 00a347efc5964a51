//! The StatefulSet's status. Source: `updateStatus`, `completeRollingUpdate` (1.36).

use super::plan::View;
use crate::action::{Action, Plan};
use crate::object::MetaView;
use crate::pod_state;
use k8s_openapi::api::apps::v1::StatefulSetStatus;

pub fn write(plan: &mut Plan, view: &View<'_>) {
    let set = view.observed.set.as_ref();
    let before = set.status.clone().unwrap_or_default();
    let mut after = StatefulSetStatus {
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
        observed_generation: set.metadata.generation,
        current_revision: Some(view.current.clone()),
        update_revision: Some(view.update.clone()),
        ..StatefulSetStatus::default()
    };
    let (mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0);
    for pod in view.by_ordinal.values() {
        after.replicas += 1;
        ready += i32::from(pod_state::is_ready(pod));
        available += i32::from(pod_state::is_available(pod, view.min_ready, view.observed.now));
        if let Some(wait) = pod_state::available_in(pod, view.min_ready, view.observed.now) {
            plan.look_again(wait);
        }
        if !pod.metadata.is_terminating() {
            current += i32::from(view.revision(pod) == view.current);
            updated += i32::from(view.revision(pod) == view.update);
        }
    }
    // A rollout is over when every pod is of the new revision and ready.
    let wanted = view.ordinals.end - view.ordinals.start;
    if updated == wanted && after.replicas == wanted && ready == wanted {
        after.current_revision = Some(view.update.clone());
        current = updated;
    }
    let some = |n: i32| Some(n).filter(|&n| n != 0);
    after.ready_replicas = some(ready);
    // This one is always written out.
    after.available_replicas = Some(available);
    after.current_replicas = some(current);
    after.updated_replicas = some(updated);
    let normal = |status: &StatefulSetStatus| StatefulSetStatus {
        ready_replicas: some(status.ready_replicas.unwrap_or(0)),
        available_replicas: some(status.available_replicas.unwrap_or(0)),
        current_replicas: some(status.current_replicas.unwrap_or(0)),
        updated_replicas: some(status.updated_replicas.unwrap_or(0)),
        observed_generation: some(i32::try_from(status.observed_generation.unwrap_or(0)).unwrap_or(i32::MAX))
            .map(i64::from),
        collision_count: some(status.collision_count.unwrap_or(0)),
        ..status.clone()
    };
    if normal(&before) != normal(&after) {
        let mut updated = set.clone();
        updated.status = Some(after);
        plan.push(Action::update_status(&updated));
    }
}
