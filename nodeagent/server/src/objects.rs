//! ConfigMaps, Secrets and other objects that pods name, fetched when needed and shared for a while.
//!
//! The Node authorizer lets an agent read only what its pods name, one by one, so there is no informer.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret};
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;

/// How old an answer may be. Pods of one node that start together share one request; a change is seen
/// soon enough (upstream: up to a minute).
const FRESH: Duration = Duration::from_secs(5);
/// Entries beyond which old ones are dropped.
const MAX_ENTRIES: usize = 4096;

type Key = (String, String);

/// When it was asked for, and what the answer was.
type Entry<K> = (Instant, Option<Arc<K>>);

struct Cache<K>(Mutex<BTreeMap<Key, Entry<K>>>);

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

pub(crate) struct Objects {
    client: Client,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
}

impl Objects {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            config_maps: Cache::default(),
            secrets: Cache::default(),
        }
    }

    /// `None`: there is none of that name.
    pub async fn config_map(&self, namespace: &str, name: &str) -> kube::Result<Option<Arc<ConfigMap>>> {
        self.cached(&self.config_maps, namespace, name).await
    }

    pub async fn secret(&self, namespace: &str, name: &str) -> kube::Result<Option<Arc<Secret>>> {
        self.cached(&self.secrets, namespace, name).await
    }

    /// The claim and the volume that it is bound to, if it is.
    pub async fn claim(
        &self,
        namespace: &str,
        name: &str,
    ) -> kube::Result<Option<(PersistentVolumeClaim, Option<PersistentVolume>)>> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let Some(claim) = claims.get_opt(name).await? else {
            return Ok(None);
        };
        let bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
        let volume = match claim.spec.as_ref().and_then(|s| s.volume_name.clone()) {
            Some(volume) if bound => {
                let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
                volumes.get_opt(&volume).await?
            }
            _ => None,
        };
        Ok(Some((claim, volume)))
    }

    pub async fn token(
        &self,
        namespace: &str,
        account: &str,
        request: &TokenRequest,
    ) -> kube::Result<TokenRequest> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        accounts
            .create_subresource("token", account, &PostParams::default(), request)
            .await
    }

    async fn cached<K>(&self, cache: &Cache<K>, namespace: &str, name: &str) -> kube::Result<Option<Arc<K>>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let key = (namespace.to_owned(), name.to_owned());
        let now = Instant::now();
        {
            let entries = cache.0.lock().unwrap_or_else(PoisonError::into_inner);
            // What is absent may come at any moment: only presence is remembered.
            if let Some((at, Some(object))) = entries.get(&key)
                && now.duration_since(*at) < FRESH
            {
                return Ok(Some(Arc::clone(object)));
            }
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let object = api.get_opt(name).await?.map(Arc::new);
        let mut entries = cache.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, (at, _)| now.duration_since(*at) < FRESH);
        }
        entries.insert(key, (now, object.clone()));
        Ok(object)
    }
}
