//! At most one pod of a name runs, wherever: a StatefulSet's ordinal most of all.
//!
//! Source: promise 3 of `ARCHITECTURE.md`, section 9; `docs/tasks/run-application/force-delete-stateful-set-pod`
//! of Kubernetes, "at most one semantics".

use chaos_store::Violation;
use std::collections::BTreeMap;
use std::time::Duration;

/// Compares what the nodes' runtimes run at this moment: namespace, pod and container each.
///
/// # Errors
/// When a pod runs on two nodes.
pub fn once_each(
    nodes: impl IntoIterator<Item = (&'static str, Vec<(String, String, String)>)>,
    now: Duration,
) -> Result<(), Violation> {
    let mut running: BTreeMap<(String, String), &str> = BTreeMap::new();
    for (node, containers) in nodes {
        let mut here: Vec<(String, String)> = containers
            .into_iter()
            .map(|(namespace, name, _)| (namespace, name))
            .collect();
        here.dedup();
        for pod in here {
            if let Some(other) = running.insert(pod.clone(), node)
                && other != node
            {
                return Err(Violation::safety(
                    "at most one pod of a name runs",
                    format!("{}/{} runs on {other} and on {node} at {now:?}", pod.0, pod.1),
                ));
            }
        }
    }
    Ok(())
}
