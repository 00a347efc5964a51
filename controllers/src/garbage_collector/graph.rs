//! Who owns whom, by uid.

use super::plan::{Item, OwnerState};
use crate::object::{MetaView, ResourceType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

#[derive(Default)]
pub struct Graph {
    items: BTreeMap<String, Item>,
    /// Uids of the objects that name this uid as an owner, whether the owner is known or not.
    dependents: BTreeMap<String, BTreeSet<String>>,
}

/// Reading an owner's metadata.
pub struct Owner;

impl Owner {
    pub fn state_of(meta: &ObjectMeta) -> OwnerState {
        if meta.is_terminating() && meta.has_finalizer(FOREGROUND) {
            OwnerState::WaitsForDependents
        } else {
            OwnerState::Present
        }
    }
}

impl Graph {
    pub fn state(&self, uid: &str) -> Option<OwnerState> {
        self.items.get(uid).map(|item| Owner::state_of(&item.meta))
    }

    /// An object and its dependents.
    pub fn look(&self, uid: &str) -> Option<(Item, Vec<Item>)> {
        let item = self.items.get(uid)?.clone();
        Some((item, self.dependents_of(uid)))
    }

    fn dependents_of(&self, uid: &str) -> Vec<Item> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.items.get(uid)).cloned().collect()
    }

    /// Takes in a new state of an object; gives the uids that need a look.
    /// Source: `graph_builder.go` `processGraphChanges` (1.36).
    pub fn apply(&mut self, resource: &ResourceType, meta: Arc<ObjectMeta>) -> Vec<String> {
        let uid = meta.uid().to_owned();
        let before = self.items.get(&uid).map(|item| Arc::clone(&item.meta));
        let old_owners = before
            .as_ref()
            .map(|meta| meta.owners().to_vec())
            .unwrap_or_default();
        let mut look = Vec::new();
        if old_owners != meta.owners() {
            for owner in &old_owners {
                self.unlink(&owner.uid, &uid);
                // An owner in foreground deletion may have waited for this reference to go.
                look.extend(self.waiting(owner));
            }
            for owner in meta.owners() {
                self.dependents
                    .entry(owner.uid.clone())
                    .or_default()
                    .insert(uid.clone());
                look.extend(self.waiting(owner));
            }
            // A reference to an owner that is unknown or leaving decides this object's fate.
            let doubtful = |owner: &OwnerReference| self.state(&owner.uid) != Some(OwnerState::Present);
            if meta.owners().iter().any(doubtful) {
                look.push(uid.clone());
            }
        }
        let was_leaving = before.as_ref().is_some_and(|meta| meta.is_terminating());
        let has_hold = meta.has_finalizer(FOREGROUND) || meta.has_finalizer(ORPHAN);
        if meta.is_terminating() && has_hold {
            look.push(uid.clone());
            if !was_leaving && meta.has_finalizer(FOREGROUND) {
                look.extend(self.dependents.get(&uid).into_iter().flatten().cloned());
            }
        }
        let item = Item {
            resource: resource.clone(),
            meta,
        };
        self.items.insert(uid, item);
        look
    }

    /// Takes in that an object is gone: its dependents may be next, and owners may have waited for it.
    pub fn remove(&mut self, uid: &str) -> Vec<String> {
        let Some(item) = self.items.remove(uid) else {
            return Vec::new();
        };
        let mut look: Vec<String> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        for owner in item.meta.owners() {
            self.unlink(&owner.uid, uid);
            look.extend(self.waiting(owner));
        }
        look
    }

    fn waiting(&self, owner: &OwnerReference) -> Option<String> {
        (self.state(&owner.uid) == Some(OwnerState::WaitsForDependents)).then(|| owner.uid.clone())
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(all) = self.dependents.get_mut(owner) {
            all.remove(dependent);
            if all.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}
