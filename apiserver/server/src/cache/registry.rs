//! All watch caches of a server, each started at its first use.

use super::reflector::reflect;
use super::{CacheError, FieldsOf, WatchCache};
use crate::store::{StoreClient, StoreError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::Env;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a reader waits for a cache; upstream waits 3 s (cacher: blockTimeout) and longer for the first fill.
const FRESH_WITHIN: Duration = Duration::from_secs(3);
const READY_WITHIN: Duration = Duration::from_secs(15);

pub(crate) struct Caches {
    store: Arc<StoreClient>,
    env: Env,
    cancel: CancellationToken,
    tasks: TaskTracker,
    by_prefix: Mutex<BTreeMap<String, Arc<WatchCache>>>,
}

/// Why a consistent read isn't possible now.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Caches {
    pub(crate) fn new(store: Arc<StoreClient>, env: Env, cancel: CancellationToken) -> Self {
        Self {
            store,
            env,
            cancel,
            tasks: TaskTracker::new(),
            by_prefix: Mutex::default(),
        }
    }

    /// The cache of the keys below `prefix`, perhaps not filled yet.
    pub(crate) fn cache(&self, prefix: &str, fields_of: impl FnOnce() -> FieldsOf) -> Arc<WatchCache> {
        let mut caches = self.by_prefix.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = caches.get(prefix) {
            return Arc::clone(cache);
        }
        let cache = Arc::new(WatchCache::new(prefix.to_owned()));
        self.tasks.spawn(reflect(
            Arc::clone(&cache),
            Arc::clone(&self.store),
            fields_of(),
            self.env.clone(),
            self.cancel.clone(),
        ));
        caches.insert(prefix.to_owned(), Arc::clone(&cache));
        cache
    }

    /// Waits until `cache` holds something.
    pub(crate) async fn ready(&self, cache: &WatchCache) -> Result<(), CacheError> {
        match cache.revision() {
            0 => cache.ready(READY_WITHIN).await,
            _ => Ok(()),
        }
    }

    /// Waits until `cache` holds all that the store had acknowledged when this was called.
    pub(crate) async fn fresh(&self, cache: &WatchCache) -> Result<(), ReadError> {
        self.ready(cache).await?;
        if self.store.supports_progress().await {
            let revision = self.store.current_revision().await?;
            return Ok(cache.wait_until(revision, FRESH_WITHIN).await?);
        }
        // No exact progress (etcd before 3.5.13): the cache is complete when it holds the newest write of the
        // prefix and as many keys as the store, because every later change moves one of the two.
        let end = super::reflector::prefix_end(&cache.prefix);
        let mut waited = Duration::ZERO;
        loop {
            let (newest, count, _) = self.store.newest(cache.prefix.as_bytes(), &end).await?;
            cache.wait_until(newest, FRESH_WITHIN).await?;
            if i64::try_from(cache.len()).is_ok_and(|cached| cached == count) {
                return Ok(());
            }
            // A deletion is on its way here, or a change came between the two looks.
            if waited >= FRESH_WITHIN {
                return Err(CacheError::Behind {
                    wanted: newest,
                    current: cache.revision(),
                }
                .into());
            }
            let pause = Duration::from_millis(5);
            waited += pause;
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until all writers of caches have stopped, after the cancellation.
    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
