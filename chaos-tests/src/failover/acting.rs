//! Until another scheduler, or another controller manager, holds the lease of the one that was lost; and, if there was
//! something to do by then, until it is done.

use super::Lost;
use crate::invariants::{
    Change, DEPLOYMENTS, LEASES, Objects, PODS, conditions, holder, is_going, number, text,
};
use chaos_store::Failovers;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn scheduler(lost: &Lost, found: &mut Failovers) {
    let Some(taken) = taken(lost, "kube-scheduler", "scheduler-leader", found) else {
        return;
    };
    let waiting = objects(lost, PODS, taken, |pod| {
        // There may be no room for it, whoever decides.
        let waits = text(pod, "/spec/nodeName").is_empty() && !is_going(pod) && !is_unschedulable(pod);
        waits.then_some(())
    });
    let binds = |change: &&Change| {
        let bound = change.after.as_ref().map(|pod| text(pod, "/spec/nodeName"));
        waiting.contains_key(&change.key) && bound.is_some_and(|node| !node.is_empty())
    };
    if let Some(change) = lost.after[taken..].iter().find(binds) {
        found.add("scheduler-binds", lost.until(Some(change)));
    }
}

pub(super) fn controllers(lost: &Lost, found: &mut Failovers) {
    let Some(taken) = taken(lost, "kube-controller-manager", "controllers-leader", found) else {
        return;
    };
    let waiting = objects(lost, DEPLOYMENTS, taken, |deployment| {
        let (wanted, observed) = generations(deployment);
        (wanted > observed && !is_going(deployment)).then_some(wanted)
    });
    let observes = |change: &&Change| {
        let observed = change.after.as_ref().map_or(0, |after| generations(after).1);
        waiting.get(&change.key).is_some_and(|wanted| observed >= *wanted)
    };
    if let Some(change) = lost.after[taken..].iter().find(observes) {
        found.add("controllers-act", lost.until(Some(change)));
    }
}

/// Where of the history after the loss another one took the lease of the machine, if that held it; adds the time.
fn taken(lost: &Lost, lease: &str, kind: &str, found: &mut Failovers) -> Option<usize> {
    let key = format!("{LEASES}kube-system/{lease}");
    let is_of_it = |change: &&Change| change.key == key;
    let held = lost.before.iter().rfind(is_of_it)?.after.as_ref();
    let held = held.map(holder).filter(|holder| is_of(holder, lost.machine))?;
    let takes = |change: &Change| {
        let holder = change.after.as_ref().map_or("", holder);
        is_of_it(&change) && !holder.is_empty() && holder != held
    };
    let taken = lost.after.iter().position(takes);
    found.add(kind, lost.until(taken.map(|at| &lost.after[at])));
    taken
}

/// Each boot of a machine adds something of its own to its name.
fn is_of(holder: &str, machine: &str) -> bool {
    holder.split_once('_').is_some_and(|(name, _)| name == machine)
}

/// What `wanted` finds in the objects of a folder as they are at this change after the loss.
fn objects<T>(
    lost: &Lost,
    folder: &str,
    at: usize,
    wanted: impl Fn(&Value) -> Option<T>,
) -> BTreeMap<String, T> {
    let past = lost.before.iter().chain(&lost.after[..=at]);
    let objects = Objects::of(past, folder).0.into_iter();
    objects
        .filter_map(|(key, object)| Some((key, wanted(&object)?)))
        .collect()
}

fn is_unschedulable(pod: &Value) -> bool {
    conditions(pod).any(|condition| text(condition, "/reason") == "Unschedulable")
}

/// The wanted one, and the one that its controller has seen.
fn generations(object: &Value) -> (i64, i64) {
    (
        number(object, "/metadata/generation"),
        number(object, "/status/observedGeneration"),
    )
}
