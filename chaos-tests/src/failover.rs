//! How long it took until others did what a machine had done that a fault took away.
//!
//! Read off the store's history and the list of faults, after the run. Which faults count is decided by what went wrong
//! and when, never by what came of it: one that took exactly one machine away, when nothing else had been wrong
//! for a while, nor was for longer than the aim. What then never came to be counts as long as the history goes on.

mod acting;
mod replacing;
#[cfg(test)]
mod tests;

use crate::invariants::{CONFIG_MAPS, Change};
use crate::topology::{Machine, Role, with_role};
use crate::users::APPLIED;
use chaos_store::{Failovers, Incident};
use serde_json::{Map, Value};
use std::time::Duration;

/// A fault that was over for so long has left nothing.
const SETTLED: Duration = Duration::from_secs(5);
/// A control plane is left alone for so long after a fault that counts; its aim is 2 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// A machine that lives on, cut off, must be so for longer than a lease lasts; one that clients miss, for longer than
/// it takes to start.
const AWAY: Duration = Duration::from_secs(3);
/// A node must be away, and all else be whole, for longer than the aim of 20 s.
const NODE_AWAY: Duration = Duration::from_secs(22);
/// What the store had taken just before a fault is told within this time after it.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// The loss of one machine, with the history before and after it.
struct Lost<'a> {
    machine: &'static str,
    incident: &'a Incident,
    before: &'a [Change],
    after: &'a [Change],
}

impl Lost<'_> {
    /// From the fault to this change of `after`; to the end of the history if there is none.
    fn until(&self, change: Option<&Change>) -> Duration {
        let change = change.or(self.after.last());
        let at = change.map_or(self.incident.began, |change| change.at);
        at.saturating_sub(self.incident.began)
    }
}

/// The times of a world, by what was lost.
pub(crate) fn measure(changes: &[Change], incidents: &[Incident], machines: &[Machine]) -> Failovers {
    let mut found = Failovers::default();
    let nodes = machines.iter().filter(|machine| machine.roles == [Role::Agent]);
    let nodes: Vec<&str> = nodes.map(|node| node.name).collect();
    // A node that is away doesn't keep a control plane from going on.
    let of_the_plane = |incident: &Incident| incident.members.iter().any(|member| !nodes.contains(member));
    for incident in incidents {
        let Some(machine) = incident.takes_away(AWAY) else {
            continue;
        };
        let after = changes.partition_point(|change| change.at <= incident.began);
        let (before, after) = changes.split_at(after);
        let lost = Lost {
            machine,
            incident,
            before,
            after,
        };
        let does = |role| with_role(machines, role).contains(&machine);
        let others = |role| with_role(machines, role).len() > usize::from(does(role));
        let replaced = |role| does(role) && others(role);
        if is_alone(incident, incidents, PATIENCE, of_the_plane) {
            if replaced(Role::Store) && incident.leader == Some(machine) {
                found.add("store-leader", lost.until(next_revision(&lost)));
            }
            if replaced(Role::Scheduler) {
                acting::scheduler(&lost, &mut found);
            }
            if replaced(Role::Controllers) {
                acting::controllers(&lost, &mut found);
            }
            if replaced(Role::Api)
                && incident.lasted(AWAY)
                && let Some(time) = until_all_write(&lost)
            {
                found.add("api-server", time);
            }
        }
        let node_is_gone = replaced(Role::Agent) && incident.lasted(NODE_AWAY);
        if node_is_gone && is_alone(incident, incidents, NODE_AWAY, |_| true) {
            replacing::pods(&lost, &mut found);
        }
    }
    found
}

/// Whether no other incident of those that matter leaves anything at this one's beginning, or begins soon after it.
fn is_alone(
    incident: &Incident,
    incidents: &[Incident],
    patience: Duration,
    matters: impl Fn(&Incident) -> bool,
) -> bool {
    let began = incident.began;
    let mut others = incidents
        .iter()
        .filter(|other| *other != incident && matters(other));
    others.all(|other| other.leaves_alone(began.saturating_sub(SETTLED), began + patience))
}

fn next_revision<'a>(lost: &Lost<'a>) -> Option<&'a Change> {
    let new = |change: &&Change| change.at > lost.incident.began + ON_ITS_WAY;
    lost.after.iter().find(new)
}

/// Until each of those who apply has written again; `None`: nobody does.
fn until_all_write(lost: &Lost) -> Option<Duration> {
    let key = format!("{CONFIG_MAPS}default/{APPLIED}");
    let is_theirs = |change: &&Change| change.key == key;
    let last = fields(&lost.before.iter().rfind(is_theirs)?.after)?;
    let times = last.keys().map(|user| {
        let writes = |change: &&Change| {
            is_theirs(change)
                && change.at > lost.incident.began + ON_ITS_WAY
                && field(&change.before, user) != field(&change.after, user)
        };
        lost.until(lost.after.iter().find(writes))
    });
    times.max()
}

/// What a ConfigMap holds.
fn fields(map: &Option<Value>) -> Option<&Map<String, Value>> {
    map.as_ref()?.pointer("/data")?.as_object()
}

fn field<'a>(map: &'a Option<Value>, name: &str) -> Option<&'a Value> {
    fields(map)?.get(name)
}
