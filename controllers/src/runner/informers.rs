//! One informer a kind, shared by all controllers that read it.

use super::cache::{AnyCache, Cache, Expectation};
use crate::object::{Key, Object, ResourceType};
use futures::future::join_all;
use kube::Api;
use kube::runtime::watcher;
use kubeclient::Informer;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::Env;
use tokio_util::task::AbortOnDropHandle;

/// How long a plan waits for the caches to show its writes before it plans again anyway. Upstream's expectations
/// last 5 minutes; a watch here is resumed within seconds or its kind is listed anew.
const CATCH_UP: Duration = Duration::from_secs(30);

pub struct Informers {
    client: kube::Client,
    env: Env,
    /// By resource and field selector; the empty selector is everything.
    caches: Mutex<BTreeMap<(ResourceType, String), Entry>>,
}

#[derive(Clone)]
struct Entry {
    typed: Arc<dyn Any + Send + Sync>,
    any: Arc<dyn AnyCache>,
}

impl Informers {
    pub fn new(client: kube::Client, env: &Env) -> Self {
        Self {
            client,
            env: env.clone(),
            caches: Mutex::new(BTreeMap::new()),
        }
    }

    /// The cache of a kind. The first call for a kind starts its informer; must be called inside a runtime.
    pub fn of<K: Object>(&self) -> Cache<K> {
        self.selected("")
    }

    /// The cache of what a field selector selects. Plans don't wait for it to show their writes.
    pub fn selected<K: Object>(&self, fields: &str) -> Cache<K> {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = caches
            .entry((ResourceType::of::<K>(), fields.to_owned()))
            .or_insert_with(|| {
                let api = Api::<K>::all(self.client.clone());
                let informer = if fields.is_empty() {
                    Informer::all(api, &self.env)
                } else {
                    Informer::new(api, watcher::Config::default().fields(fields), &self.env)
                };
                let cache = Cache::new(informer.store().clone(), Some(informer));
                Entry {
                    typed: Arc::new(cache.clone()),
                    any: Arc::new(cache),
                }
            });
        entry
            .typed
            .downcast_ref::<Cache<K>>()
            .expect("an entry's key is made from the type of its cache")
            .clone()
    }

    fn entries(&self) -> Vec<Entry> {
        let caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        caches.values().cloned().collect()
    }

    /// Starts handing changes to the handlers; they end with the returned handles.
    pub(crate) fn start(&self) -> Vec<AbortOnDropHandle<()>> {
        self.entries()
            .iter()
            .map(|entry| AbortOnDropHandle::new(tokio::spawn(entry.any.run())))
            .collect()
    }

    /// Waits for the first complete list of every kind.
    pub(crate) async fn synced(&self) {
        join_all(self.entries().iter().map(|entry| entry.any.synced())).await;
    }

    /// Waits until every cache shows what was written before this call: by the leader before, above all.
    pub(crate) async fn refreshed(&self) {
        join_all(self.entries().iter().map(|entry| entry.any.refreshed())).await;
    }

    /// Hands every object to its handlers once more: what another leader did meanwhile must be looked at.
    pub(crate) fn replay(&self) {
        for entry in self.entries() {
            entry.any.replay();
        }
    }

    /// Waits until the caches show what was written.
    pub(super) async fn show(&self, written: Vec<(ResourceType, Key, Expectation)>) {
        let mut waits = Vec::new();
        for (resource, key, expectation) in written {
            let entry = {
                let caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
                caches.get(&(resource, String::new())).cloned()
            };
            if let Some(entry) = entry {
                waits.push(entry.any.shows(key, expectation));
            }
        }
        if tokio::time::timeout(CATCH_UP, join_all(waits)).await.is_err() {
            tracing::warn!("caches did not show a write in time");
        }
    }
}
