//! The plan for one terminating namespace.
//! Source: `pkg/controller/namespace/deletion/namespaced_resources_deleter.go`, `status_condition_utils.go` (1.36).
//!
//! Invariants:
//! - Pods go first; the rest is touched only when no pod is left (`OrderedNamespaceDeletion`).
//! - The finalizer is removed only after a pass that found nothing and could look everywhere.

use crate::action::{Action, Deletion, Plan, Target};
use crate::object::{Key, MetaView, ResourceType};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const FINALIZER: &str = "kubernetes";
/// After deletions that need no grace the next pass usually finds nothing.
const AGAIN_SOON: Duration = Duration::from_millis(100);
/// Pods end in their own time; finalizers of others likewise.
const AGAIN_LATER: Duration = Duration::from_secs(1);

/// One object left in the namespace.
#[derive(Clone, Debug)]
pub struct Item {
    pub name: String,
    pub uid: String,
    pub terminating: bool,
    pub finalizers: Vec<String>,
}

/// What is left of one resource; never empty.
#[derive(Clone, Debug)]
pub struct Contents {
    pub resource: ResourceType,
    pub items: Vec<Item>,
    /// Whether one request deletes them all.
    pub by_collection: bool,
}

pub struct Observed {
    pub namespace: Arc<Namespace>,
    pub contents: Vec<Contents>,
    /// Group versions that could not be looked into.
    pub undiscovered: Vec<String>,
    pub failed: Option<String>,
    pub now: Timestamp,
}

/// Whether our finalizer still holds the namespace.
pub fn is_held(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    finalizers.is_some_and(|all| all.iter().any(|finalizer| finalizer == FINALIZER))
}

pub fn plan(observed: &Observed) -> Plan {
    let namespace = observed.namespace.as_ref();
    let mut plan = Plan::nothing();
    let (pods, others): (Vec<&Contents>, Vec<&Contents>) = observed
        .contents
        .iter()
        .partition(|contents| contents.resource.group.is_empty() && contents.resource.plural == "pods");
    let doomed = if pods.is_empty() { others } else { pods };
    let deletions: Vec<Action> = doomed
        .iter()
        .flat_map(|contents| deletions(namespace.metadata.name(), contents))
        .collect();

    if observed.contents.is_empty() && observed.undiscovered.is_empty() {
        let mut released = namespace.clone();
        if let Some(finalizers) = released.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        plan.push(Action::UpdateSubresource(
            crate::action::Body::of(&released),
            "finalize",
        ));
        return plan;
    }
    let described = describe(observed);
    if described != *namespace {
        plan.push(Action::update_status(&described));
    }
    plan.look_again(if deletions.is_empty() {
        AGAIN_LATER
    } else {
        AGAIN_SOON
    });
    if !deletions.is_empty() {
        plan.push(Action::Batch(deletions));
    }
    plan
}

fn deletions(namespace: &str, contents: &Contents) -> Vec<Action> {
    let mut fresh = contents.items.iter().filter(|item| !item.terminating).peekable();
    if fresh.peek().is_none() {
        return Vec::new();
    }
    if contents.by_collection {
        return vec![Action::DeleteCollection {
            resource: contents.resource.clone(),
            namespace: namespace.to_owned(),
        }];
    }
    fresh
        .map(|item| {
            Action::Delete(Deletion {
                target: Target {
                    resource: contents.resource.clone(),
                    key: Key::new(namespace, &item.name),
                    uid: item.uid.clone(),
                },
                propagation: None,
                grace_seconds: None,
                resource_version: None,
            })
        })
        .collect()
}

/// The namespace with phase and conditions as found.
fn describe(observed: &Observed) -> Namespace {
    let mut namespace = observed.namespace.as_ref().clone();
    let status = namespace.status.get_or_insert_default();
    status.phase = Some("Terminating".into());
    let conditions = status.conditions.get_or_insert_default();
    for finding in findings(observed) {
        set(conditions, finding, observed.now);
    }
    namespace
}

struct Finding {
    kind: &'static str,
    problem: Option<(&'static str, String)>,
    fine: (&'static str, &'static str),
}

fn findings(observed: &Observed) -> [Finding; 5] {
    let remaining: Vec<String> = observed
        .contents
        .iter()
        .map(|contents| {
            let ResourceType { plural, group, .. } = &contents.resource;
            let dot = if group.is_empty() { "" } else { "." };
            format!(
                "{plural}{dot}{group} has {} resource instances",
                contents.items.len()
            )
        })
        .collect();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for item in observed.contents.iter().flat_map(|contents| &contents.items) {
        for finalizer in &item.finalizers {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let finalizers: Vec<String> = finalizers
        .into_iter()
        .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
        .collect();
    let some = |reason, lead: &str, parts: &[String]| {
        (!parts.is_empty()).then(|| (reason, format!("{lead}: {}", parts.join(", "))))
    };
    [
        Finding {
            kind: "NamespaceDeletionDiscoveryFailure",
            problem: some(
                "DiscoveryFailed",
                "Discovery failed for some groups",
                &observed.undiscovered,
            ),
            fine: ("ResourcesDiscovered", "All resources successfully discovered"),
        },
        Finding {
            kind: "NamespaceDeletionGroupVersionParsingFailure",
            problem: None,
            fine: ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        },
        Finding {
            kind: "NamespaceDeletionContentFailure",
            problem: observed
                .failed
                .clone()
                .map(|message| ("ContentDeletionFailed", message)),
            fine: (
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        },
        Finding {
            kind: "NamespaceContentRemaining",
            problem: some("SomeResourcesRemain", "Some resources are remaining", &remaining),
            fine: ("ContentRemoved", "All content successfully removed"),
        },
        Finding {
            kind: "NamespaceFinalizersRemaining",
            problem: some(
                "SomeFinalizersRemain",
                "Some content in the namespace has finalizers remaining",
                &finalizers,
            ),
            fine: (
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
        },
    ]
}

fn set(conditions: &mut Vec<NamespaceCondition>, finding: Finding, now: Timestamp) {
    let (status, (reason, message)) = match finding.problem {
        Some(problem) => ("True", problem),
        None => ("False", (finding.fine.0, finding.fine.1.to_owned())),
    };
    let found = conditions
        .iter()
        .position(|condition| condition.type_ == finding.kind);
    let before = found.map(|at| conditions.remove(at));
    let at = before
        .filter(|before| before.status == status)
        .and_then(|before| before.last_transition_time)
        .unwrap_or(Time(now));
    let condition = NamespaceCondition {
        type_: finding.kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(at),
    };
    conditions.insert(found.unwrap_or(conditions.len()), condition);
}

#[cfg(test)]
mod tests {
    use super::{Contents, Item, Observed, plan};
    use crate::object::ResourceType;
    use crate::testing::{ago, now, object, story};
    use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
    use serde_json::json;

    fn observed(contents: Vec<Contents>) -> Observed {
        let namespace = object::<Namespace>(json!({
            "metadata": {"name": "shop", "uid": "u", "resourceVersion": "3", "deletionTimestamp": ago(5)},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}));
        Observed {
            namespace,
            contents,
            undiscovered: Vec::new(),
            failed: None,
            now: now(),
        }
    }

    fn some(resource: ResourceType, terminating: bool, by_collection: bool) -> Contents {
        let item = Item {
            name: "x".into(),
            uid: "ux".into(),
            terminating,
            finalizers: Vec::new(),
        };
        Contents {
            resource,
            items: vec![item],
            by_collection,
        }
    }

    #[test]
    fn pods_go_first_then_the_rest_then_the_finalizer() {
        let (pods, maps) = (ResourceType::of::<Pod>(), ResourceType::of::<ConfigMap>());
        let both = plan(&observed(vec![
            some(maps.clone(), false, true),
            some(pods.clone(), false, true),
        ]));
        assert_eq!(story(&both), ["status Namespace shop", "delete all Pod shop"]);
        let waiting = plan(&observed(vec![
            some(maps.clone(), false, true),
            some(pods, true, true),
        ]));
        assert_eq!(story(&waiting), ["status Namespace shop"]);
        assert!(waiting.again_after.is_some());
        let rest = plan(&observed(vec![some(maps, false, false)]));
        assert_eq!(story(&rest), ["status Namespace shop", "delete ConfigMap shop/x"]);
        let empty = plan(&observed(Vec::new()));
        assert_eq!(story(&empty), ["finalize Namespace shop"]);
    }

    #[test]
    fn a_group_that_cannot_be_looked_into_keeps_the_namespace() {
        let mut blind = observed(Vec::new());
        blind.undiscovered = vec!["metrics.k8s.io/v1beta1".into()];
        assert_eq!(story(&plan(&blind)), ["status Namespace shop"]);
    }
}
