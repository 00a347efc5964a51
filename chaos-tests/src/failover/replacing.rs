//! Until each ReplicaSet that had pods on a lost node has as many on others as it wants.
//!
//! Only those count that had all their pods bound, and whose users want the same of them until long after.

use super::{Lost, NODE_AWAY};
use crate::invariants::{Change, Objects, PODS, REPLICA_SETS, is_going, number, text};
use chaos_store::Failovers;
use serde_json::Value;

pub(super) fn pods(lost: &Lost, found: &mut Failovers) {
    let sets = Objects::of(lost.before, REPLICA_SETS);
    let pods = Objects::of(lost.before, PODS);
    for (key, set) in &sets.0 {
        let (wanted, uid) = (replicas(set), text(set, "/metadata/uid"));
        let of_it = pods.0.values().filter(|pod| is_of(pod, uid) && counts(pod));
        let bound = of_it.clone().filter(|pod| !node(pod).is_empty()).count();
        let was_hit = of_it.clone().any(|pod| node(pod) == lost.machine);
        if wanted > 0 && bound == wanted && was_hit && is_left_alone(lost, key, wanted) {
            found.add("node", lost.until(replaced(lost, &pods, (uid, wanted))));
        }
    }
}

/// Whether the ReplicaSet `key` stays as it is until the node should long be replaced.
fn is_left_alone(lost: &Lost, key: &str, wanted: usize) -> bool {
    let until = lost.incident.began + NODE_AWAY;
    let soon = lost.after.iter().take_while(|change| change.at <= until);
    let mut of_it = soon.filter(|change| change.key == key);
    of_it.all(|change| {
        let after = change.after.as_ref();
        after.is_some_and(|set| replicas(set) == wanted)
    })
}

/// The change with which so many pods are on other nodes; the lost one is another one once it is back.
fn replaced<'a>(lost: &Lost<'a>, before: &Objects, (uid, wanted): (&str, usize)) -> Option<&'a Change> {
    let mut pods = Objects(before.0.clone());
    lost.after.iter().find(|change| {
        if change.is_of(PODS) {
            pods.follow(change);
        }
        let back = lost.incident.ended.is_some_and(|ended| ended <= change.at);
        let on_others = pods.0.values().filter(|pod| {
            let living = back || node(pod) != lost.machine;
            is_of(pod, uid) && counts(pod) && living && !node(pod).is_empty()
        });
        on_others.count() >= wanted
    })
}

fn replicas(set: &Value) -> usize {
    usize::try_from(number(set, "/spec/replicas")).unwrap_or(0)
}

fn node(pod: &Value) -> &str {
    text(pod, "/spec/nodeName")
}

/// Neither on its way out nor at its end.
fn counts(pod: &Value) -> bool {
    let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    !ended && !is_going(pod)
}

fn is_of(pod: &Value, uid: &str) -> bool {
    text(pod, "/metadata/ownerReferences/0/uid") == uid
}
