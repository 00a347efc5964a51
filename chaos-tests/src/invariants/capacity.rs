//! No node is over-committed: what its pods request never exceeds what it can give.
//!
//! Source: promise 4 of `ARCHITECTURE.md`, section 9; upstream plugin `NodeResourcesFit`.

use super::{Change, NODES, Objects, PODS, text};
use chaos_store::Violation;
use quantity::milli;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn check(changes: &[Change]) -> Result<(), Violation> {
    let mut nodes = Objects::default();
    let mut pods = Objects::default();
    for change in changes {
        if change.is_of(NODES) {
            nodes.follow(change);
        }
        if !change.is_of(PODS) {
            continue;
        }
        pods.follow(change);
        let bound = change
            .after
            .as_ref()
            .map_or("", |pod| text(pod, "/spec/nodeName"));
        if bound.is_empty() {
            continue;
        }
        let mut asked: BTreeMap<&str, i64> = BTreeMap::new();
        for pod in pods.0.values() {
            let phase = text(pod, "/status/phase");
            if text(pod, "/spec/nodeName") != bound || matches!(phase, "Succeeded" | "Failed") {
                continue;
            }
            let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
            for container in containers.into_iter().flatten() {
                for resource in ["cpu", "memory"] {
                    let pointer = format!("/resources/requests/{resource}");
                    // In thousandths, so that both sides compare whatever unit they are written in.
                    *asked.entry(resource).or_default() += milli(text(container, &pointer));
                }
            }
        }
        let node = nodes
            .0
            .iter()
            .find(|(key, _)| key.rsplit('/').next() == Some(bound));
        let Some((_, node)) = node else { continue };
        for (resource, asked) in asked {
            let allocatable = milli(text(node, &format!("/status/allocatable/{resource}")));
            if allocatable > 0 && asked > allocatable {
                return Err(Violation::safety(
                    "no node is over-committed",
                    format!(
                        "{bound} at revision {} ({}): {asked} of {allocatable} {resource}",
                        change.revision, change.key
                    ),
                ));
            }
        }
    }
    Ok(())
}
