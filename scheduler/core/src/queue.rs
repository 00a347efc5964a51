//! The pods that wait for a node: ready ones by importance, refused ones until something changes.
//!
//! Follows upstream's `backend/queue/scheduling_queue.go`. Time is what the caller says it is: a duration since any
//! fixed moment.
//!
//! Invariants:
//! - A pod is in exactly one of: ready, backing off, unschedulable, gated, in an attempt.
//! - An event during an attempt counts for it: the pod doesn't go to sleep over what just changed.

use crate::diagnosis::Plugins;
use crate::pod_info::PodInfo;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// An unschedulable pod is tried again after this long even if nothing seems to have changed.
const MAX_UNSCHEDULABLE: Duration = Duration::from_secs(300);

/// Order among ready pods: priority first, then who has waited longest.
type Rank = (Reverse<i32>, Duration, u64);

#[derive(Debug, Default)]
pub struct SchedulingQueue {
    entries: BTreeMap<String, Entry>,
    ready: BTreeMap<Rank, String>,
    backing_off: BTreeSet<(Duration, String)>,
    unschedulable: BTreeSet<(Duration, String)>,
    sequence: u64,
    /// Counts events; for each plugin bit, the count at its latest event.
    events: u64,
    latest: [u64; 32],
}

#[derive(Debug)]
struct Entry {
    pod: Arc<PodInfo>,
    place: Place,
    added: Duration,
    sequence: u64,
    attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    BackingOff { until: Duration },
    Unschedulable { since: Duration, plugins: Plugins },
    Gated,
    InAttempt { events: u64 },
}

/// A pod taken from the queue to be scheduled.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub pod: Arc<PodInfo>,
    /// 1 at the first attempt.
    pub number: u32,
}

impl SchedulingQueue {
    /// A pod that waits for a node, new or changed.
    pub fn add(&mut self, pod: Arc<PodInfo>, now: Duration) {
        let key = pod.key.clone();
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.pod.uid == pod.uid
        {
            let gated = !pod.gates.is_empty();
            let old = std::mem::replace(&mut entry.pod, pod);
            let (place, new) = (entry.place, Arc::clone(&entry.pod));
            match place {
                // The attempt goes on with what it has; a changed pod is tried again after it.
                Place::InAttempt { .. } => self.note(Plugins::ALL),
                Place::Gated if gated => {}
                Place::Gated => self.make_ready(&key),
                Place::Ready | Place::BackingOff { .. } if !gated && old.priority == new.priority => {}
                Place::Unschedulable { .. } if !changes_scheduling(&old, &new) => {}
                _ => {
                    self.leave(&key, &old);
                    self.enter(&key);
                }
            }
            return;
        }
        self.remove(&key);
        self.sequence += 1;
        self.entries.insert(
            key.clone(),
            Entry {
                pod,
                place: Place::Gated,
                added: now,
                sequence: self.sequence,
                attempts: 0,
            },
        );
        self.enter(&key);
    }

    /// A pod that is gone, or bound.
    pub fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.get(key) {
            let pod = Arc::clone(&entry.pod);
            self.leave(key, &pod);
            self.entries.remove(key);
        }
    }

    /// The most important ready pod.
    pub fn pop(&mut self, now: Duration) -> Option<Attempt> {
        self.advance(now);
        let (_, key) = self.ready.pop_first()?;
        let events = self.events;
        let entry = self.entries.get_mut(&key)?;
        entry.place = Place::InAttempt { events };
        entry.attempts += 1;
        Some(Attempt {
            pod: Arc::clone(&entry.pod),
            number: entry.attempts,
        })
    }

    /// An attempt that found no node: the pod sleeps until one of `plugins` may think otherwise.
    pub fn refused(&mut self, key: &str, plugins: Plugins, now: Duration) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let Place::InAttempt { events } = entry.place else {
            return;
        };
        if plugins.bits().any(|bit| self.latest[bit] > events) {
            self.back_off(key, now);
        } else {
            entry.place = Place::Unschedulable { since: now, plugins };
            self.unschedulable.insert((now, key.to_owned()));
        }
    }

    /// An attempt that failed for a reason that has nothing to do with nodes: try again soon.
    pub fn failed(&mut self, key: &str, now: Duration) {
        if self
            .entries
            .get(key)
            .is_some_and(|entry| matches!(entry.place, Place::InAttempt { .. }))
        {
            self.back_off(key, now);
        }
    }

    /// Something changed that may change the minds of `plugins`.
    pub fn wake(&mut self, plugins: Plugins, now: Duration) {
        self.note(plugins);
        let keys: Vec<String> = self
            .unschedulable
            .iter()
            .filter(|(_, key)| {
                self.entries.get(key).is_some_and(
                    |entry| matches!(entry.place, Place::Unschedulable { plugins: by, .. } if by.intersects(plugins)),
                )
            })
            .map(|(_, key)| key.clone())
            .collect();
        for key in keys {
            self.wake_one(&key, now);
        }
    }

    /// When [`SchedulingQueue::pop`] may find something new without any event.
    pub fn next_at(&self) -> Option<Duration> {
        let backoff = self.backing_off.first().map(|(until, _)| *until);
        let flush = self
            .unschedulable
            .first()
            .map(|(since, _)| *since + MAX_UNSCHEDULABLE);
        [backoff, flush].into_iter().flatten().min()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Every pod that waits.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    fn note(&mut self, plugins: Plugins) {
        self.events += 1;
        for bit in plugins.bits() {
            self.latest[bit] = self.events;
        }
    }

    fn advance(&mut self, now: Duration) {
        while self.backing_off.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.backing_off.pop_first() {
                self.make_ready(&key);
            }
        }
        while self
            .unschedulable
            .first()
            .is_some_and(|(since, _)| *since + MAX_UNSCHEDULABLE <= now)
        {
            let Some((_, key)) = self.unschedulable.first().cloned() else {
                return;
            };
            self.wake_one(&key, now);
        }
    }

    fn wake_one(&mut self, key: &str, now: Duration) {
        let Some(Entry {
            place: Place::Unschedulable { since, .. },
            attempts,
            ..
        }) = self.entries.get(key)
        else {
            return;
        };
        let (since, until) = (*since, *since + backoff(*attempts));
        self.unschedulable.remove(&(since, key.to_owned()));
        if until <= now {
            self.make_ready(key);
        } else if let Some(entry) = self.entries.get_mut(key) {
            entry.place = Place::BackingOff { until };
            self.backing_off.insert((until, key.to_owned()));
        }
    }

    fn back_off(&mut self, key: &str, now: Duration) {
        if let Some(entry) = self.entries.get_mut(key) {
            let until = now + backoff(entry.attempts);
            entry.place = Place::BackingOff { until };
            self.backing_off.insert((until, key.to_owned()));
        }
    }

    fn enter(&mut self, key: &str) {
        if let Some(entry) = self.entries.get_mut(key) {
            if entry.pod.gates.is_empty() {
                self.make_ready(key);
            } else {
                entry.place = Place::Gated;
            }
        }
    }

    fn make_ready(&mut self, key: &str) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.place = Place::Ready;
            let rank = rank(entry, &entry.pod);
            self.ready.insert(rank, key.to_owned());
        }
    }

    /// Takes a pod out of wherever it waits; `pod` is what it was entered with.
    fn leave(&mut self, key: &str, pod: &PodInfo) {
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        match entry.place {
            Place::Ready => {
                self.ready.remove(&rank(entry, pod));
            }
            Place::BackingOff { until } => {
                self.backing_off.remove(&(until, key.to_owned()));
            }
            Place::Unschedulable { since, .. } => {
                self.unschedulable.remove(&(since, key.to_owned()));
            }
            Place::Gated | Place::InAttempt { .. } => {}
        }
    }
}

fn rank(entry: &Entry, pod: &PodInfo) -> Rank {
    (Reverse(pod.priority), entry.added, entry.sequence)
}

fn backoff(attempts: u32) -> Duration {
    let factor = 1_u32 << attempts.saturating_sub(1).min(10);
    INITIAL_BACKOFF.saturating_mul(factor).min(MAX_BACKOFF)
}

/// Whether an update may make a refused pod fit: its status alone never does.
fn changes_scheduling(old: &PodInfo, new: &PodInfo) -> bool {
    old.labels != new.labels
        || old.requests != new.requests
        || old.scalars != new.scalars
        || old.tolerations != new.tolerations
        || old.node_selector != new.node_selector
        || old.required_nodes != new.required_nodes
        || old.gates != new.gates
        || old.priority != new.priority
}

#[cfg(test)]
mod tests {
    use super::SchedulingQueue;
    use crate::diagnosis::Plugins;
    use crate::pod_info::PodInfo;
    use std::sync::Arc;
    use std::time::Duration;

    fn pod(name: &str, priority: i32) -> Arc<PodInfo> {
        Arc::new(PodInfo {
            key: format!("default/{name}"),
            name: name.to_owned(),
            uid: name.to_owned(),
            priority,
            ..PodInfo::default()
        })
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn pop(queue: &mut SchedulingQueue, now: u64) -> Option<String> {
        queue.pop(at(now)).map(|attempt| attempt.pod.name.clone())
    }

    #[test]
    fn the_more_important_pod_comes_first_then_the_older() {
        let mut queue = SchedulingQueue::default();
        for (name, priority) in [("a", 0), ("b", 10), ("c", 0)] {
            queue.add(pod(name, priority), at(0));
        }
        let order: Vec<_> = (0..4).map(|_| pop(&mut queue, 0)).collect();
        assert_eq!(
            order,
            [Some("b".into()), Some("a".into()), Some("c".into()), None]
        );
    }

    #[test]
    fn a_refused_pod_sleeps_until_its_plugin_may_think_otherwise_and_then_backs_off() {
        let mut queue = SchedulingQueue::default();
        queue.add(pod("a", 0), at(0));
        assert!(pop(&mut queue, 0).is_some());
        queue.refused("default/a", Plugins::NODE_RESOURCES_FIT, at(0));
        queue.wake(Plugins::TAINT_TOLERATION, at(2000));
        assert!(pop(&mut queue, 2000).is_none(), "woken by somebody else's event");
        queue.wake(Plugins::NODE_RESOURCES_FIT, at(2000));
        assert!(pop(&mut queue, 2000).is_some(), "its back-off is over");
        queue.refused("default/a", Plugins::NODE_RESOURCES_FIT, at(2000));
        queue.wake(Plugins::NODE_RESOURCES_FIT, at(2001));
        assert!(pop(&mut queue, 2001).is_none(), "the second back-off is 2 s");
        assert_eq!(queue.next_at(), Some(at(4000)));
        assert!(pop(&mut queue, 4000).is_some());
    }

    #[test]
    fn an_event_during_an_attempt_is_not_lost() {
        let mut queue = SchedulingQueue::default();
        queue.add(pod("a", 0), at(0));
        assert!(pop(&mut queue, 0).is_some());
        queue.wake(Plugins::NODE_RESOURCES_FIT, at(1));
        queue.refused("default/a", Plugins::NODE_RESOURCES_FIT, at(2));
        assert_eq!(queue.next_at(), Some(at(1002)));
    }

    #[test]
    fn a_gated_pod_waits_until_its_gates_are_gone() {
        let mut queue = SchedulingQueue::default();
        let mut gated = PodInfo::clone(&pod("a", 0));
        gated.gates = vec!["example.com/wait".to_owned()];
        queue.add(Arc::new(gated), at(0));
        queue.wake(Plugins::ALL, at(0));
        assert!(pop(&mut queue, 0).is_none());
        queue.add(pod("a", 0), at(1));
        assert!(pop(&mut queue, 1).is_some());
    }

    #[test]
    fn a_sleeping_pod_is_tried_again_after_five_minutes() {
        let mut queue = SchedulingQueue::default();
        queue.add(pod("a", 0), at(0));
        assert!(pop(&mut queue, 0).is_some());
        queue.refused("default/a", Plugins::NODE_AFFINITY, at(0));
        assert!(pop(&mut queue, 299_999).is_none());
        assert!(pop(&mut queue, 300_000).is_some());
    }
}
