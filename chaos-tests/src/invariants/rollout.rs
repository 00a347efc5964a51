//! A roll-out never takes away more than it may: of a Deployment that was fully available, at least
//! `replicas - maxUnavailable` pods stay so.
//!
//! Source: upstream `pkg/controller/deployment/rolling.go`. Judged only until a node is hit: what a node
//! takes with it is not the roll-out's doing. Scaling down is not a roll-out either: the wish falls first.

use super::{Change, DEPLOYMENTS, Objects, PODS, REPLICA_SETS, conditions, is_going, number, text};
use chaos_store::Violation;
use serde_json::Value;

/// `maxUnavailable` of the users' Deployments.
const MAX_UNAVAILABLE: i64 = 1;

pub(super) fn check<'a>(changes: impl Iterator<Item = &'a Change>) -> Result<(), Violation> {
    let mut deployments = Objects::default();
    let mut sets = Objects::default();
    let mut pods = Objects::default();
    for change in changes {
        if change.is_of(DEPLOYMENTS) {
            deployments.follow(change);
        } else if change.is_of(REPLICA_SETS) {
            sets.follow(change);
        } else if change.is_of(PODS) {
            let was = change.before.as_ref().is_some_and(is_available);
            let is = change.after.as_ref().is_some_and(is_available);
            pods.follow(change);
            if let (true, false, Some(pod)) = (was, is, &change.before) {
                judge(change, pod, &deployments, &sets, &pods)?;
            }
        }
    }
    Ok(())
}

/// Ready and not on its way out.
fn is_available(pod: &Value) -> bool {
    let ready =
        |condition: &Value| text(condition, "/type") == "Ready" && text(condition, "/status") == "True";
    conditions(pod).any(ready) && !is_going(pod)
}

/// One available pod less: are there enough others?
fn judge(
    change: &Change,
    pod: &Value,
    deployments: &Objects,
    sets: &Objects,
    pods: &Objects,
) -> Result<(), Violation> {
    let app = text(pod, "/metadata/labels/app");
    let Some(deployment) = deployments.0.get(&format!("{DEPLOYMENTS}default/{app}")) else {
        return Ok(());
    };
    if is_going(deployment) {
        return Ok(());
    }
    let wanted = number(deployment, "/spec/replicas");
    let generation = number(deployment, "/metadata/generation");
    // What the controller has not heard of yet can't be its yardstick: a wish that has just grown.
    if number(deployment, "/status/observedGeneration") != generation {
        return Ok(());
    }
    let of_this = |object: &&Value| text(object, "/metadata/labels/app") == app;
    let all = sets.0.values().filter(of_this);
    let held: i64 = all.map(|set| number(set, "/spec/replicas")).sum();
    let available = pods
        .0
        .values()
        .filter(of_this)
        .filter(|pod| is_available(pod))
        .count();
    let available = i64::try_from(available).unwrap_or(i64::MAX);
    // It never had more than it holds: the Deployment was still growing.
    let reached = number(deployment, "/status/availableReplicas");
    if held >= wanted && reached >= wanted && available < wanted - MAX_UNAVAILABLE {
        return Err(Violation::safety(
            "a roll-out keeps replicas - maxUnavailable pods available",
            format!(
                "revision {} at {:?}: {} leaves {available} of {wanted} of {app}",
                change.revision, change.at, change.key
            ),
        ));
    }
    Ok(())
}
