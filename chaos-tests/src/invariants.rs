//! What must hold at every revision of the cluster's state; one promise a file, each with its source.
//!
//! The state is read where it can't lie: from the store's own history, revision by revision.

mod applying;
mod binding;
mod capacity;
mod counting;
mod identity;
mod leading;
mod rollout;
mod running;
mod watches;

pub(crate) use leading::holder;
pub use running::once_each;

use crate::users::Session;
use chaos_store::Violation;
use chaos_store::chronicle::Chronicle;
use proto::mvccpb::event::EventType;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where the store keeps objects of each kind.
pub const PODS: &str = "/registry/pods/";
pub const NODES: &str = "/registry/nodes/";
pub const CONFIG_MAPS: &str = "/registry/configmaps/";
pub const DEPLOYMENTS: &str = "/registry/apps/deployments/";
pub const REPLICA_SETS: &str = "/registry/apps/replicasets/";
pub const LEASES: &str = "/registry/coordination.k8s.io/leases/";

/// One object at one revision.
pub struct Change {
    pub revision: i64,
    /// When the first recorder heard of it.
    pub at: Duration,
    /// The store's key, `/registry/pods/default/a`.
    pub key: String,
    /// `None`: it was not there before.
    pub before: Option<Value>,
    /// `None`: it was deleted.
    pub after: Option<Value>,
}

impl Change {
    pub fn is_of(&self, folder: &str) -> bool {
        self.key.starts_with(folder)
    }
}

/// Every change of every object, in order.
pub fn changes(chronicle: &Chronicle) -> Vec<Change> {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    let mut changes = Vec::new();
    for (revision, page) in &chronicle.pages {
        for event in &page.events {
            let Some(kv) = &event.kv else { continue };
            changes.push(Change {
                revision: *revision,
                at: page.seen,
                key: String::from_utf8_lossy(&kv.key).into_owned(),
                before: event.prev_kv.as_ref().and_then(|kv| parse(&kv.value)),
                after: (event.r#type() == EventType::Put)
                    .then(|| parse(&kv.value))
                    .flatten(),
            });
        }
    }
    changes
}

/// What was done to a cluster that excuses it from some promises.
#[derive(Debug, Clone, Copy, Default)]
pub struct Excuses {
    /// When pods may first have been lost with their nodes.
    pub nodes_hit_at: Option<Duration>,
    /// Times in objects can't be compared.
    pub clocks_were_wrong: bool,
}

/// # Errors
/// The first promise that was broken.
pub fn check(changes: &[Change], sessions: &[Session], excuses: Excuses) -> Result<(), Violation> {
    identity::check(changes)?;
    binding::check(changes)?;
    capacity::check(changes)?;
    counting::check(changes)?;
    applying::check(changes)?;
    watches::check(changes, sessions)?;
    if !excuses.clocks_were_wrong {
        leading::check(changes)?;
    }
    let before = |change: &&Change| excuses.nodes_hit_at.is_none_or(|hit| change.at < hit);
    rollout::check(changes.iter().take_while(before))?;
    Ok(())
}

/// The objects of a folder as they change.
#[derive(Default)]
pub(crate) struct Objects(pub(crate) BTreeMap<String, Value>);

impl Objects {
    /// Those of `folder` after `changes`.
    pub(crate) fn of<'a>(changes: impl IntoIterator<Item = &'a Change>, folder: &str) -> Self {
        let mut objects = Self::default();
        for change in changes.into_iter().filter(|change| change.is_of(folder)) {
            objects.follow(change);
        }
        objects
    }

    pub(crate) fn follow(&mut self, change: &Change) {
        match &change.after {
            Some(object) => self.0.insert(change.key.clone(), object.clone()),
            None => self.0.remove(&change.key),
        };
    }
}

/// The text at a path, empty when there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The whole number at a path, zero when there is none.
pub fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether it is on its way out.
pub fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// What its status says is so, and isn't.
pub fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiserver_core::Registry;

    /// An invariant that looks elsewhere holds for ever.
    #[test]
    fn objects_are_looked_for_where_the_api_server_keeps_them() {
        let registry = Registry::built_in();
        for (folder, group, plural) in [
            (PODS, "", "pods"),
            (NODES, "", "nodes"),
            (CONFIG_MAPS, "", "configmaps"),
            (DEPLOYMENTS, "apps", "deployments"),
            (REPLICA_SETS, "apps", "replicasets"),
            (LEASES, "coordination.k8s.io", "leases"),
        ] {
            let resource = registry.lookup(group, "v1", plural).expect("a built-in resource");
            assert_eq!(resource.key_prefix(""), folder);
        }
    }
}
