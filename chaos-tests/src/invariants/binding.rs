//! A pod is bound once, to a node that exists and takes pods.
//!
//! Source: promise 4 of `ARCHITECTURE.md`, section 9; upstream `pkg/registry/core/pod/storage/storage.go`,
//! `assignPod`.

use super::{Change, NODES, Objects, PODS, text};
use chaos_store::Violation;
use serde_json::Value;

pub(super) fn check(changes: &[Change]) -> Result<(), Violation> {
    let mut nodes = Objects::default();
    for change in changes {
        if change.is_of(NODES) {
            nodes.follow(change);
        }
        if !change.is_of(PODS) {
            continue;
        }
        let Some(after) = &change.after else { continue };
        let node = text(after, "/spec/nodeName");
        let before = change
            .before
            .as_ref()
            .map_or("", |before| text(before, "/spec/nodeName"));
        if !before.is_empty() && before != node {
            return Err(Violation::safety(
                "a pod is bound once",
                format!(
                    "{} at revision {}: from {before} to {node:?}",
                    change.key, change.revision
                ),
            ));
        }
        if before.is_empty() && !node.is_empty() {
            let found = nodes
                .0
                .iter()
                .find(|(key, _)| key.rsplit('/').next() == Some(node));
            let Some((_, found)) = found else {
                return Err(Violation::safety(
                    "a pod is bound to a node that exists",
                    format!("{} at revision {}: to {node}", change.key, change.revision),
                ));
            };
            // Nobody cordons a node in these worlds: one that takes no pods never did.
            if found.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true) {
                return Err(Violation::safety(
                    "a pod is bound to a node that takes pods",
                    format!("{} at revision {}: to {node}", change.key, change.revision),
                ));
            }
        }
    }
    Ok(())
}
