//! Ownership: what a write takes, gives up and conflicts with.
//!
//! Follows `structured-merge-diff/v6/merge/update.go` and `managedfields/internal/{managedfieldsupdater,stripmeta,
//! conflict}.go`.

use std::collections::BTreeMap;

use kubeschema::Schema;
use serde_json::Value;

use super::compare::{Comparison, compare};
use super::field_set::{FieldSet, shown};
use super::managed_fields::{Managed, ManagerKey, Owned};
use super::merge::merge;
use super::remove::remove;
use super::typed::{Node, to_field_set};
use super::{Writer, filled, shown_manager};
use crate::status::{ApiError, Cause};

/// Identity and book-keeping, which nobody owns.
const STRIPPED: [&[&str]; 12] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// The conflicting fields of each manager.
pub(super) type Conflicts = BTreeMap<ManagerKey, FieldSet>;

/// Fields that other managers own and the apply would change.
pub(super) struct Conflicting(pub Conflicts);

pub(super) struct Outcome {
    pub object: Value,
    pub managed: Managed,
}

/// An update: the writer owns what it changed, others lose it.
pub(super) fn update(
    schema: Option<Schema<'_>>,
    old: &Value,
    new: &Value,
    managed: &mut Managed,
    writer: &Writer<'_>,
) {
    let reset = FieldSet::of_fields(writer.reset);
    let changes = compare(&filled(old, schema), &filled(new, schema), Node::of(schema)).without(&reset);
    take_over(managed, &changes, None);
    let taken = changes
        .modified
        .union(&changes.added)
        .difference(&FieldSet::of_fields(&STRIPPED));
    if taken.is_empty() {
        return;
    }
    let key = ManagerKey::updater(writer);
    let before = managed
        .entries
        .remove(&key)
        .map(|owned| owned.set)
        .unwrap_or_default();
    managed.entries.insert(
        key,
        Owned {
            set: taken.union(&before),
            api_version: writer.api_version.to_owned(),
            time: Some(writer.now.to_owned()),
        },
    );
}

/// Takes changed and removed fields from every manager but `except`.
fn take_over(managed: &mut Managed, changes: &Comparison, except: Option<&ManagerKey>) {
    let lost = changes.modified.union(&changes.added).union(&changes.removed);
    managed.entries.retain(|key, owned| {
        if Some(key) == except {
            return !owned.set.is_empty();
        }
        owned.set = owned.set.difference(&lost);
        !owned.set.is_empty()
    });
}

/// An apply: merge, remove what is no longer applied, refuse conflicts.
pub(super) fn apply(
    schema: Option<Schema<'_>>,
    live: &Value,
    config: &Value,
    managed: &Managed,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Outcome, Conflicting> {
    let node = Node::of(schema);
    let reset = FieldSet::of_fields(writer.reset);
    let key = ManagerKey::applier(writer);
    let mut managed = managed.clone();
    let merged = merge(Some(live), Some(config), node).unwrap_or_else(|| live.clone());
    let previous = managed.entries.remove(&key);
    let set = to_field_set(config, node).recursive_difference(&reset);
    managed.entries.insert(
        key.clone(),
        Owned {
            set,
            api_version: writer.api_version.to_owned(),
            time: previous.as_ref().and_then(|owned| owned.time.clone()),
        },
    );
    let object = match &previous {
        Some(last) if !last.set.is_empty() => prune(node, merged, &managed, &last.set),
        _ => merged,
    };
    let changes = compare(&filled(live, schema), &filled(&object, schema), node).without(&reset);
    let touched = changes.modified.union(&changes.added);
    let conflicts: Conflicts = managed
        .entries
        .iter()
        .filter(|(other, _)| **other != key)
        .map(|(other, owned)| (other.clone(), owned.set.intersection(&touched)))
        .filter(|(_, set)| !set.is_empty())
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(Conflicting(conflicts));
    }
    take_over(&mut managed, &changes, Some(&key));
    if let Some(owned) = managed.entries.get_mut(&key) {
        owned.set = owned.set.difference(&FieldSet::of_fields(&STRIPPED));
        if owned.set.is_empty() {
            managed.entries.remove(&key);
        }
    }
    Ok(Outcome { object, managed })
}

/// Removes what the manager applied last time, does not apply now, and nobody else owns.
fn prune(node: Node<'_>, merged: Value, managed: &Managed, last: &FieldSet) -> Value {
    let last = last.with_named_fields(node);
    let empty = || Value::Object(serde_json::Map::new());
    let pruned = remove(&merged, &last, node).unwrap_or_else(empty);
    // Add back what any manager owns, the applying one included.
    let all = managed
        .entries
        .values()
        .fold(FieldSet::default(), |all, owned| all.union(&owned.set));
    let merged_set = to_field_set(&merged, node).with_named_fields(node);
    let pruned_set = to_field_set(&pruned, node).with_named_fields(node);
    let kept = pruned_set.union(&all.with_named_fields(node));
    let pruned = remove(&merged, &merged_set.difference(&kept), node).unwrap_or_else(empty);
    // Add back what went only because of something above it, without ever having been applied.
    let pruned_set = to_field_set(&pruned, node).with_named_fields(node);
    let doomed = merged_set.difference(&pruned_set).intersection(&last);
    remove(&merged, &doomed, node).unwrap_or_else(empty)
}

impl Conflicting {
    pub(super) fn into_api_error(self) -> ApiError {
        let Self(conflicts) = self;
        let paths: Vec<(&ManagerKey, String)> = conflicts
            .iter()
            .flat_map(|(key, set)| set.paths().into_iter().map(move |path| (key, shown(&path))))
            .collect();
        let causes = paths
            .iter()
            .map(|(key, path)| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {}", shown_manager(key)),
                field: path.clone(),
            })
            .collect();
        let message = match paths.as_slice() {
            [(key, path)] => {
                format!(
                    "Apply failed with 1 conflict: conflict with {}: {path}",
                    shown_manager(key)
                )
            }
            _ => {
                let mut lines = Vec::new();
                for key in conflicts.keys() {
                    lines.push(format!("conflicts with {}:", shown_manager(key)));
                    lines.extend(
                        paths
                            .iter()
                            .filter(|(k, _)| *k == key)
                            .map(|(_, path)| format!("- {path}")),
                    );
                }
                format!(
                    "Apply failed with {} conflicts: {}",
                    paths.len(),
                    lines.join("\n")
                )
            }
        };
        ApiError::apply_conflict(causes, message)
    }
}
