//! The way from client-side to server-side apply: `kubectl` may take fields that its own last-applied annotation
//! still describes, and keeps that annotation fresh.
//!
//! Follows `managedfields/internal/{lastappliedmanager,lastappliedupdater}.go`.

use kubeschema::Schema;
use serde_json::Value;

use super::compare::compare;
use super::typed::{Node, to_field_set};
use super::updater::Conflicts;
use super::{filled, settle};
use crate::tree;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The conflicts that the annotation of the live object does not excuse.
pub(super) fn without_allowed(
    schema: Option<Schema<'_>>,
    live: &Value,
    conflicts: Conflicts,
    api_version: &str,
) -> Conflicts {
    let node = Node::of(schema);
    let text = tree::annotation(live, ANNOTATION).unwrap_or_default();
    let Ok(mut applied) = serde_json::from_str::<Value>(text) else {
        return conflicts;
    };
    if let Some(schema) = schema {
        settle(&mut applied, schema);
    }
    if tree::text(&applied, &["apiVersion"]) != api_version {
        return conflicts;
    }
    let changes = compare(&filled(&applied, schema), &filled(live, schema), node);
    let allowed = to_field_set(&applied, node)
        .difference(&changes.modified)
        .difference(&changes.added)
        .difference(&changes.removed);
    conflicts
        .into_iter()
        .map(|(key, set)| (key, set.difference(&allowed)))
        .filter(|(_, set)| !set.is_empty())
        .collect()
}

/// Writes the configuration into the annotation, if the object had one.
pub(super) fn refresh(object: &mut Value, live: &Value, config: &Value) {
    /// Larger annotations are left out, as an object may only carry so much.
    const MAX_BYTES: usize = 262_144;
    if tree::annotation(live, ANNOTATION).is_none_or(str::is_empty) {
        return;
    }
    let mut applied = config.clone();
    tree::remove(&mut applied, &["metadata", "annotations", ANNOTATION]);
    tree::remove(&mut applied, &["metadata", "managedFields"]);
    let text = format!("{applied}\n");
    if text.len() <= MAX_BYTES {
        tree::set(object, &["metadata", "annotations", ANNOTATION], text);
    } else {
        tree::remove(object, &["metadata", "annotations", ANNOTATION]);
    }
}
