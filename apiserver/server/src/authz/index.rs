//! The authorizers' view of the cluster, followed from the watch caches.

use super::Answer;
use crate::cache::{Change, Entry, Filter, Start};
use crate::state::State;
use apiserver_core::ApiError;
use apiserver_core::authorization::{
    Attributes, Decision, NodeAuthorizer, NodeGraph, RbacIndex, Rule, Subject, rules_of,
};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const RBAC: &str = "rbac.authorization.k8s.io";
/// Everything that decisions are made of: group, resource.
const FOLLOWED: [(&str, &str); 7] = [
    (RBAC, "clusterroles"),
    (RBAC, "clusterrolebindings"),
    (RBAC, "roles"),
    (RBAC, "rolebindings"),
    ("", "pods"),
    ("", "persistentvolumes"),
    ("storage.k8s.io", "volumeattachments"),
];
/// How long a question waits at start-up.
const READY_WITHIN: Duration = Duration::from_secs(15);

pub(crate) struct Authorizer {
    rbac: RwLock<RbacIndex>,
    graph: RwLock<NodeGraph>,
    node: NodeAuthorizer,
    /// How many of the followed resources are filled.
    filled: watch::Sender<usize>,
}

impl Authorizer {
    pub(crate) fn new() -> Self {
        let roles = kubeschema::startup_objects()
            .remove("clusterroles")
            .unwrap_or_default();
        let rules = roles
            .iter()
            .find(|role| role["metadata"]["name"] == "system:node")
            .map(rules_of);
        Self {
            rbac: RwLock::default(),
            graph: RwLock::default(),
            node: NodeAuthorizer {
                rules: rules.unwrap_or_default(),
            },
            filled: watch::Sender::new(0),
        }
    }

    /// Waits until all rules are known.
    pub(super) async fn ready(&self) -> Result<(), ApiError> {
        if *self.filled.borrow() >= FOLLOWED.len() {
            return Ok(());
        }
        let mut filled = self.filled.subscribe();
        let all = filled.wait_for(|filled| *filled >= FOLLOWED.len());
        match tokio::time::timeout(READY_WITHIN, all).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(ApiError::service_unavailable(
                "the rules of authorization are not loaded yet",
            )),
        }
    }

    pub(crate) fn decide(&self, attributes: &Attributes<'_>) -> Answer {
        let node = self.node.authorize(
            attributes,
            &self.graph.read().unwrap_or_else(PoisonError::into_inner),
        );
        let mut reasons = Vec::new();
        match node {
            Decision::Allow(reason) => {
                return Answer {
                    allowed: true,
                    denied: false,
                    reason,
                };
            }
            Decision::Deny(reason) => {
                return Answer {
                    allowed: false,
                    denied: true,
                    reason,
                };
            }
            Decision::NoOpinion(reason) => reasons.push(reason),
        }
        match self
            .rbac
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .authorize(attributes)
        {
            Decision::Allow(reason) => {
                return Answer {
                    allowed: true,
                    denied: false,
                    reason,
                };
            }
            Decision::Deny(reason) => {
                return Answer {
                    allowed: false,
                    denied: true,
                    reason,
                };
            }
            Decision::NoOpinion(reason) => reasons.push(reason),
        }
        reasons.retain(|reason| !reason.is_empty());
        Answer {
            allowed: false,
            denied: false,
            reason: reasons.join(", "),
        }
    }

    /// Looks at the roles and bindings as they are now.
    pub(crate) fn with_rbac<T>(&self, look: impl FnOnce(&RbacIndex) -> T) -> T {
        look(&self.rbac.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn rules_for(&self, user: Subject<'_>, namespace: &str) -> Vec<Rule> {
        self.with_rbac(|rbac| rbac.rules_for(user, namespace))
    }

    fn upsert(&self, resource: &str, entry: &Entry) {
        let object = entry.value();
        let mut graph = self.graph.write().unwrap_or_else(PoisonError::into_inner);
        match resource {
            "pods" => graph.upsert_pod(&object),
            "persistentvolumes" => graph.upsert_volume(&object),
            "volumeattachments" => graph.upsert_attachment(&object),
            _ => self
                .rbac
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .upsert(resource, &object),
        }
    }

    fn remove(&self, resource: &str, namespace: &str, name: &str) {
        let mut graph = self.graph.write().unwrap_or_else(PoisonError::into_inner);
        match resource {
            "pods" => graph.remove_pod(namespace, name),
            "persistentvolumes" => graph.remove_volume(name),
            "volumeattachments" => graph.remove_attachment(name),
            _ => self
                .rbac
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(resource, namespace, name),
        }
    }
}

/// Starts following; ends with `cancel`.
pub(crate) fn follow_all(state: &Arc<State>, tasks: &TaskTracker, cancel: &CancellationToken) {
    for (group, resource) in FOLLOWED {
        let (state, cancel) = (Arc::clone(state), cancel.clone());
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = follow(&state, group, resource) => {}
            }
        });
    }
}

async fn follow(state: &State, group: &str, resource: &str) {
    let mut known: BTreeSet<(String, String)> = BTreeSet::new();
    let mut counted = false;
    loop {
        let subscribed = match state.filled(group, "v1", resource).await {
            Ok(cache) => cache.subscribe(Start::Snapshot, Filter::default()).ok(),
            Err(_) => None,
        };
        let Some(mut subscription) = subscribed else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut present = BTreeSet::new();
        for (_, event) in &subscription.initial {
            if let Some(entry) = &event.current {
                state.authorizer.upsert(resource, entry);
                present.insert((entry.namespace.clone(), entry.name.clone()));
            }
        }
        for (namespace, name) in known.difference(&present) {
            state.authorizer.remove(resource, namespace, name);
        }
        known = present;
        if !std::mem::replace(&mut counted, true) {
            state.authorizer.filled.send_modify(|filled| *filled += 1);
        }
        // Ends when the cache lost its history: begin again with what it holds then.
        while let Some((change, event)) = subscription.queue.recv().await {
            match (change, &event.current, &event.previous) {
                (Change::Deleted, _, Some(entry)) => {
                    state.authorizer.remove(resource, &entry.namespace, &entry.name);
                    known.remove(&(entry.namespace.clone(), entry.name.clone()));
                }
                (_, Some(entry), _) => {
                    state.authorizer.upsert(resource, entry);
                    known.insert((entry.namespace.clone(), entry.name.clone()));
                }
                _ => {}
            }
        }
    }
}
