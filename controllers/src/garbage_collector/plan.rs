//! The fate of one object.
//! Source: `pkg/controller/garbagecollector/garbagecollector.go` `attemptToDeleteItem`, `attemptToOrphan` (1.36).
//!
//! Invariants:
//! - An object is deleted only if every owner it names is absent or waits for its dependents, and only in the version
//!   that was seen: a new owner makes the deletion fail.
//! - An owner deleted with `orphan` leaves only after no dependent names it any more.

use super::graph::{FOREGROUND, ORPHAN};
use crate::action::{Action, Deletion, Plan, Propagation, Target};
use crate::object::{Key, MetaView, ResourceType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Item {
    pub resource: ResourceType,
    pub meta: Arc<ObjectMeta>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerState {
    Present,
    /// In foreground deletion.
    WaitsForDependents,
    Absent,
}

pub struct Observed {
    pub item: Item,
    /// As the graph has them; from the server if [`frees_dependents`].
    pub dependents: Vec<Item>,
    /// Of every owner that the item names, by uid.
    pub owners: BTreeMap<String, OwnerState>,
}

/// Whether the plan for this object takes it out of its dependents: then all of them must be known.
pub fn frees_dependents(item: &Item) -> bool {
    item.meta.is_terminating() && item.meta.has_finalizer(ORPHAN)
}

pub fn plan(observed: &Observed) -> Plan {
    let item = &observed.item;
    if item.meta.is_terminating() {
        return if frees_dependents(item) {
            orphan(observed).into()
        } else if item.meta.has_finalizer(FOREGROUND) {
            foreground(observed).into()
        } else {
            Plan::nothing()
        };
    }
    if item.meta.owners().is_empty() {
        return Plan::nothing();
    }
    let state = |owner: &OwnerReference| {
        observed
            .owners
            .get(&owner.uid)
            .copied()
            .unwrap_or(OwnerState::Present)
    };
    let count = |wanted| {
        item.meta
            .owners()
            .iter()
            .filter(|owner| state(owner) == wanted)
            .count()
    };
    let (solid, waiting) = (count(OwnerState::Present), count(OwnerState::WaitsForDependents));
    if solid == item.meta.owners().len() {
        return Plan::nothing();
    }
    if solid > 0 {
        // Somebody still wants it: only the references to those that left go.
        let kept: Vec<&OwnerReference> = item
            .meta
            .owners()
            .iter()
            .filter(|owner| state(owner) == OwnerState::Present)
            .collect();
        return vec![patch(item, json!({"ownerReferences": kept}))].into();
    }
    let mut actions = Vec::new();
    let propagation = if waiting > 0 && !observed.dependents.is_empty() {
        let circular = observed
            .dependents
            .iter()
            .any(|dependent| dependent.meta.is_terminating() && dependent.meta.has_finalizer(FOREGROUND));
        if circular {
            // Two objects that wait for each other: this one stops blocking.
            let mut owners = item.meta.owners().to_vec();
            for owner in &mut owners {
                owner.block_owner_deletion = Some(false);
            }
            actions.push(patch(item, json!({"ownerReferences": owners})));
            return actions.into();
        }
        Propagation::Foreground
    } else if item.meta.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else if item.meta.has_finalizer(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    actions.push(Action::Delete(Deletion {
        target: target(item),
        propagation: Some(propagation),
        grace_seconds: None,
        resource_version: Some(item.meta.resource_version().to_owned()),
    }));
    actions.into()
}

/// Takes the owner out of its dependents, then the finalizer out of the owner.
fn orphan(observed: &Observed) -> Vec<Action> {
    let owner = &observed.item;
    let mut freed: Vec<Action> = Vec::new();
    for dependent in &observed.dependents {
        let kept: Vec<&OwnerReference> = dependent
            .meta
            .owners()
            .iter()
            .filter(|reference| reference.uid != owner.meta.uid())
            .collect();
        let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
        freed.push(patch(dependent, json!({"ownerReferences": kept})));
    }
    let mut actions = Vec::new();
    if !freed.is_empty() {
        actions.push(Action::Batch(freed));
    }
    actions.push(without_finalizer(owner, ORPHAN));
    actions
}

/// Deletes the dependents; the finalizer goes when none that blocks is left.
fn foreground(observed: &Observed) -> Vec<Action> {
    let owner = &observed.item;
    let blocks = |dependent: &&Item| {
        dependent.meta.owners().iter().any(|reference| {
            reference.uid == owner.meta.uid() && reference.block_owner_deletion == Some(true)
        })
    };
    if observed.dependents.iter().any(|dependent| blocks(&dependent)) {
        // Each of them is looked at for itself, and each that goes brings us back here.
        return Vec::new();
    }
    vec![without_finalizer(owner, FOREGROUND)]
}

fn without_finalizer(item: &Item, finalizer: &str) -> Action {
    let mut finalizers = item.meta.finalizers.clone().unwrap_or_default();
    finalizers.retain(|have| have != finalizer);
    patch(item, json!({"finalizers": finalizers}))
}

fn patch(item: &Item, mut metadata: Value) -> Action {
    metadata["uid"] = json!(item.meta.uid());
    metadata["resourceVersion"] = json!(item.meta.resource_version());
    Action::Patch {
        target: target(item),
        patch: json!({"metadata": metadata}),
        subresource: None,
    }
}

fn target(item: &Item) -> Target {
    Target {
        resource: item.resource.clone(),
        key: Key::of(&item.meta),
        uid: item.meta.uid().to_owned(),
    }
}
