//! What must hold at every revision of the cluster's state; one promise a file, each with its source.
//!
//! The state is read where it can't lie: from the store's own history, revision by revision.

mod applying;
mod binding;
mod capacity;
mod counting;
mod identity;
mod rollout;
mod running;
mod watches;

pub use running::once_each;

use crate::users::Session;
use chaos_store::Violation;
use chaos_store::chronicle::Chronicle;
use proto::mvccpb::event::EventType;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

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

/// # Errors
/// The first promise that was broken.
pub fn check(chronicle: &Chronicle, sessions: &[Session], nodes_were_hit: bool) -> Result<(), Violation> {
    let changes = changes(chronicle);
    identity::check(&changes)?;
    binding::check(&changes)?;
    capacity::check(&changes)?;
    counting::check(&changes)?;
    applying::check(&changes)?;
    watches::check(&changes, sessions)?;
    if !nodes_were_hit {
        rollout::check(&changes)?;
    }
    Ok(())
}

/// The objects of a folder as they change.
#[derive(Default)]
pub(crate) struct Objects(pub(crate) BTreeMap<String, Value>);

impl Objects {
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
