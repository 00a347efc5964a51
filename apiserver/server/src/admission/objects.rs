//! What the plugins look up: the watch caches first, the store for what isn't there yet.

use crate::state::State;
use crate::verbs::fetch_for_update;
use apiserver_core::admission::Objects;
use apiserver_core::authorization::Attributes;
use apiserver_core::{ApiError, GroupResource, Resource};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The resources that plugins look at; their caches are filled before the first write is admitted.
const LOOKED_AT: [(&str, &str); 11] = [
    ("", "namespaces"),
    ("", "serviceaccounts"),
    ("", "limitranges"),
    ("", "resourcequotas"),
    ("", "nodes"),
    ("", "persistentvolumeclaims"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "storageclasses"),
    ("networking.k8s.io", "ingressclasses"),
    ("node.k8s.io", "runtimeclasses"),
    ("certificates.k8s.io", "certificatesigningrequests"),
];

/// Waits for the caches that plugins read.
pub(super) async fn prepare(state: &State) -> Result<(), ApiError> {
    if state.admission_ready() {
        return Ok(());
    }
    for (group, resource) in LOOKED_AT {
        state.filled(group, "v1", resource).await?;
    }
    state.set_admission_ready();
    Ok(())
}

type Key = (String, String, String, String);

pub(super) struct Looked<'a> {
    state: &'a State,
    fetched: BTreeMap<Key, Option<Arc<Value>>>,
    missed: Mutex<BTreeSet<Key>>,
}

impl<'a> Looked<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        Self {
            state,
            fetched: BTreeMap::new(),
            missed: Mutex::default(),
        }
    }

    /// Asks the store for everything that was looked for in vain; true when there was something to ask.
    pub(super) async fn fetch_missing(&mut self) -> Result<bool, ApiError> {
        let missed = std::mem::take(&mut *self.missed.lock().unwrap_or_else(PoisonError::into_inner));
        let mut asked = false;
        for key in missed {
            if self.fetched.contains_key(&key) {
                continue;
            }
            let (group, resource, namespace, name) = &key;
            let Some(resource) = self.resource(group, resource) else {
                continue;
            };
            let found = fetch_for_update(self.state, &resource, namespace, name).await?;
            self.fetched
                .insert(key, found.map(|(object, ..)| Arc::new(object)));
            asked = true;
        }
        Ok(asked)
    }

    fn resource(&self, group: &str, resource: &str) -> Option<Arc<Resource>> {
        let registry = self.state.registry();
        if let Some(found) = registry.lookup(group, "v1", resource) {
            return Some(Arc::clone(found));
        }
        registry
            .versions_of(&GroupResource::new(group, resource))
            .first()
            .map(|found| Arc::clone(found))
    }
}

impl Objects for Looked<'_> {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let key = (
            group.to_owned(),
            resource.to_owned(),
            namespace.to_owned(),
            name.to_owned(),
        );
        if let Some(fetched) = self.fetched.get(&key) {
            return fetched.clone();
        }
        let found = self.resource(group, resource)?;
        let cache = self.state.cache_of(&found);
        let store_key = found.key(namespace, name);
        let cached = store_key
            .strip_prefix(&cache.prefix)
            .and_then(|key| cache.get(key))
            .map(|entry| entry.shared());
        if cached.is_none() {
            self.missed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key);
        }
        cached
    }

    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        let Some(found) = self.resource(group, resource) else {
            return Vec::new();
        };
        let cache = self.state.cache_of(&found);
        let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
        let filter = crate::cache::Filter {
            namespace,
            ..crate::cache::Filter::default()
        };
        cache.list(&filter).0.iter().map(|entry| entry.shared()).collect()
    }

    fn authorized(&self, attributes: &Attributes<'_>) -> bool {
        attributes.user.in_group("system:masters") || self.state.authorizer.decide(attributes).allowed
    }
}
