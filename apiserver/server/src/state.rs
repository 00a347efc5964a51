//! What all requests share.

use crate::authn::TokenKeys;
use crate::authz::Authorizer;
use crate::cache::{Caches, FieldsOf, ReadError, WatchCache};
use crate::config::ApiServerConfig;
use crate::store::{EventLeases, StoreClient, StoreError};
use apiserver_core::admission::DefaultTolerations;
use apiserver_core::openapi::OpenApi;
use apiserver_core::{ApiError, Registry, Resource};
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use support::Env;
use tokio_util::sync::CancellationToken;

pub(crate) struct State {
    pub config: ApiServerConfig,
    pub env: Env,
    pub store: Arc<StoreClient>,
    pub caches: Caches,
    pub event_leases: EventLeases,
    pub tokens: TokenKeys,
    pub authorizer: Authorizer,
    /// What pods get that don't say how long they stay on a failing node.
    pub tolerations: DefaultTolerations,
    /// Made at the first question.
    pub openapi: OnceLock<OpenApi>,
    admission_ready: AtomicBool,
    /// Ends watches and background work.
    pub cancel: CancellationToken,
    registry: RwLock<Arc<Registry>>,
}

impl State {
    pub(crate) fn new(
        config: ApiServerConfig,
        env: Env,
        tokens: TokenKeys,
        tolerations: DefaultTolerations,
        cancel: CancellationToken,
    ) -> Self {
        let store = Arc::new(StoreClient::new(&config.store, &env));
        Self {
            caches: Caches::new(Arc::clone(&store), env.clone(), cancel.clone()),
            store,
            event_leases: EventLeases::default(),
            tokens,
            authorizer: Authorizer::new(),
            tolerations,
            openapi: OnceLock::new(),
            admission_ready: AtomicBool::new(false),
            cancel,
            registry: RwLock::new(Arc::new(Registry::built_in())),
            config,
            env,
        }
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `host:port` under which clients find this replica.
    pub(crate) fn advertised(&self) -> String {
        format!(
            "{}:{}",
            self.config.advertise_address,
            self.config.advertise_port.unwrap_or(6443)
        )
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.env.clock.now()
    }

    /// The caches that admission reads are filled.
    pub(crate) fn admission_ready(&self) -> bool {
        self.admission_ready.load(Ordering::Relaxed)
    }

    pub(crate) fn set_admission_ready(&self) {
        self.admission_ready.store(true, Ordering::Relaxed);
    }

    /// The cache behind a served resource; resources that are views of the same objects share one.
    pub(crate) fn cache_of(&self, resource: &Resource) -> Arc<WatchCache> {
        self.caches
            .cache(&resource.key_prefix(""), || self.fields_of(resource))
    }

    /// Reads the selectable fields of stored objects.
    pub(crate) fn fields_of(&self, resource: &Resource) -> FieldsOf {
        let registry = self.registry();
        let rule = registry
            .storage_of(resource)
            .map_or(&resource.field_rule, |stored| &stored.field_rule)
            .clone();
        Arc::new(move |object| {
            rule.fields()
                .into_iter()
                .filter(|field| !field.starts_with("metadata."))
                .map(|field| (field.to_owned(), rule.value_of(field, object)))
                .collect()
        })
    }

    /// The cache of a built-in resource, filled. For our own look-ups.
    pub(crate) async fn filled(
        &self,
        group: &str,
        version: &str,
        resource: &str,
    ) -> Result<Arc<WatchCache>, ApiError> {
        let registry = self.registry();
        let resource = registry
            .lookup(group, version, resource)
            .ok_or_else(|| ApiError::internal(format!("no built-in resource {resource}")))?;
        let cache = self.cache_of(resource);
        self.caches
            .ready(&cache)
            .await
            .map_err(|error| read_error(&error.into()))?;
        Ok(cache)
    }
}

/// The one mapping of the store's failures to what clients see.
pub(crate) fn store_error(error: &StoreError) -> ApiError {
    match error {
        StoreError::Compacted => {
            ApiError::expired("The provided from parameter is too old to display a consistent list result.")
        }
        StoreError::Future => ApiError::timeout("Too large resource version", 1),
        StoreError::TooLarge => ApiError::request_entity_too_large("etcdserver: request is too large"),
        StoreError::Unavailable(why) => ApiError::service_unavailable(format!("store unavailable: {why}")),
        StoreError::Refused(_) | StoreError::Corrupt { .. } => ApiError::internal(error),
    }
}

/// As [`store_error`], for reads by way of a cache.
pub(crate) fn read_error(error: &ReadError) -> ApiError {
    use crate::cache::CacheError;
    let unsigned = |revision: i64| u64::try_from(revision).unwrap_or(0);
    match error {
        ReadError::Store(error) => store_error(error),
        ReadError::Cache(CacheError::TooOld { wanted, oldest }) => {
            ApiError::too_old_resource_version(unsigned(*wanted), unsigned(*oldest))
        }
        ReadError::Cache(CacheError::Behind { wanted, current }) => {
            ApiError::resource_version_too_large(unsigned(*wanted), unsigned(*current))
        }
        ReadError::Cache(CacheError::NotReady) => {
            ApiError::service_unavailable("storage is (re)initializing")
        }
    }
}
