//! Changing the size of ReplicaSets, and sharing a new total among several of them.
//! Source: `sync.go` `scale`, `util/deployment_util.go` `GetReplicaSetProportion` (1.36).

use super::observed::{Revisions, Wishes, available, wanted};
use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS};
use crate::action::Action;
use crate::object::MetaView;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

fn number(meta: &ObjectMeta, annotation: &str) -> Option<i32> {
    meta.annotation(annotation)?.parse().ok()
}

/// Records the Deployment's size, by which a later change of it is noticed.
pub fn annotate(annotations: &mut BTreeMap<String, String>, wishes: &Wishes) {
    annotations.insert(DESIRED_REPLICAS.to_owned(), wishes.replicas.to_string());
    annotations.insert(
        MAX_REPLICAS.to_owned(),
        (wishes.replicas + wishes.max_surge).to_string(),
    );
}

/// Whether the Deployment's size changed since its active ReplicaSets were sized.
pub fn was_scaled(wishes: &Wishes, revisions: &Revisions) -> bool {
    revisions
        .all()
        .filter(|set| wanted(set) > 0)
        .any(|set| number(&set.metadata, DESIRED_REPLICAS).is_some_and(|desired| desired != wishes.replicas))
}

/// Gives `set` the size `replicas`, with the event that tells of it. Nothing if it has that size.
pub fn resize(deployment: &Deployment, wishes: &Wishes, set: &ReplicaSet, replicas: i32) -> Vec<Action> {
    if wanted(set) == replicas {
        Vec::new()
    } else {
        write(deployment, wishes, set, replicas)
    }
}

fn write(deployment: &Deployment, wishes: &Wishes, set: &ReplicaSet, replicas: i32) -> Vec<Action> {
    let mut sized = set.clone();
    annotate(sized.metadata.annotations.get_or_insert_default(), wishes);
    sized.spec.get_or_insert_default().replicas = Some(replicas);
    if sized == *set {
        return Vec::new();
    }
    let before = wanted(set);
    let mut actions = vec![Action::update(&sized)];
    if before != replicas {
        let direction = if before < replicas { "up" } else { "down" };
        let name = set.metadata.name();
        let message = format!("Scaled {direction} replica set {name} from {before} to {replicas}");
        actions.push(Action::record(deployment, false, "ScalingReplicaSet", message));
    }
    actions
}

/// Follows a change of the Deployment's size without rolling: the only active ReplicaSet takes all; a finished
/// rollout gives all to the current one; in the middle of one, all active ones share in proportion.
pub fn scale(deployment: &Deployment, wishes: &Wishes, revisions: &Revisions) -> Vec<Action> {
    if let Some(only) = active_or_latest(revisions) {
        if wanted(only) == wishes.replicas {
            // Sizes agree but the record of the size may not: without it scaling would never end.
            return if wanted(only) > 0 {
                write(deployment, wishes, only, wishes.replicas)
            } else {
                Vec::new()
            };
        }
        return resize(deployment, wishes, only, wishes.replicas);
    }
    if let Some(new) = &revisions.new
        && is_saturated(wishes, new)
    {
        return revisions
            .old
            .iter()
            .filter(|set| wanted(set) > 0)
            .flat_map(|set| resize(deployment, wishes, set, 0))
            .collect();
    }
    if !wishes.rolling {
        return Vec::new();
    }
    shares(deployment, wishes, revisions)
        .into_iter()
        .flat_map(|(set, size)| write(deployment, wishes, &set, size))
        .collect()
}

/// The one active ReplicaSet; with none active the current or else the youngest; nothing with several.
fn active_or_latest(revisions: &Revisions) -> Option<&Arc<ReplicaSet>> {
    let active: Vec<_> = revisions.all().filter(|set| wanted(set) > 0).collect();
    match active.as_slice() {
        [] => revisions.new.as_ref().or(revisions.old.last()),
        [only] => Some(only),
        _ => None,
    }
}

fn is_saturated(wishes: &Wishes, set: &ReplicaSet) -> bool {
    number(&set.metadata, DESIRED_REPLICAS) == Some(wishes.replicas)
        && wanted(set) == wishes.replicas
        && available(set) == wishes.replicas
}

/// New sizes of all active ReplicaSets, larger ones first; what rounding leaves over goes to the first.
fn shares(deployment: &Deployment, wishes: &Wishes, revisions: &Revisions) -> Vec<(Arc<ReplicaSet>, i32)> {
    let mut active: Vec<Arc<ReplicaSet>> = revisions.all().filter(|set| wanted(set) > 0).cloned().collect();
    let total: i32 = active.iter().map(|set| wanted(set)).sum();
    let allowed = if wishes.replicas > 0 {
        wishes.replicas + wishes.max_surge
    } else {
        0
    };
    let to_add = allowed - total;
    // Growing favours the younger of equals, shrinking the older.
    if to_add > 0 {
        active.sort_by_key(|set| (Reverse(wanted(set)), Reverse(set.metadata.created_at())));
    } else {
        active.sort_by_key(|set| (Reverse(wanted(set)), set.metadata.created_at()));
    }
    let mut added = 0;
    let mut sized = Vec::new();
    for set in active {
        let share = share(deployment, wishes, &set, to_add, added);
        added += share;
        let size = wanted(&set) + share;
        sized.push((set, size));
    }
    if let Some((_, size)) = sized.first_mut() {
        *size = (*size + to_add - added).max(0);
    }
    sized
}

fn share(deployment: &Deployment, wishes: &Wishes, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if to_add == 0 || to_add == added {
        return 0;
    }
    let current = wanted(set);
    let fraction = if wishes.replicas == 0 {
        -current
    } else {
        let status_replicas = deployment.status.as_ref().and_then(|status| status.replicas);
        let before = number(&set.metadata, MAX_REPLICAS)
            .filter(|&max| max > 0)
            .or(status_replicas)
            .filter(|&max| max > 0)
            .unwrap_or(current);
        let after = wishes.replicas + wishes.max_surge;
        rounded_share(current, after, before) - current
    };
    let left = to_add - added;
    if to_add > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}

/// `current * after / before`, rounded to the nearest.
fn rounded_share(current: i32, after: i32, before: i32) -> i32 {
    let (product, before) = (i64::from(current) * i64::from(after), i64::from(before.max(1)));
    i32::try_from((product * 2 + before) / (before * 2)).unwrap_or(i32::MAX)
}
