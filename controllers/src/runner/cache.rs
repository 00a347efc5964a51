//! A kind's objects as controllers read them, and whether they show a write yet.

use crate::object::{Key, MetaView, Object};
use futures::future::BoxFuture;
use kubeclient::{Change, Informer, Store};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// A typed, read-only view of an informer. Cheap to clone.
pub struct Cache<K>(Arc<Shared<K>>);

struct Shared<K> {
    store: Store<K>,
    /// Keeps the informer alive; absent where a test fills the store.
    informer: Option<Informer<K>>,
    handlers: Mutex<Vec<Handler<K>>>,
    /// The highest resourceVersion dispatched.
    seen: watch::Sender<u64>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Object> Cache<K> {
    pub(super) fn new(store: Store<K>, informer: Option<Informer<K>>) -> Self {
        Self(Arc::new(Shared {
            store,
            informer,
            handlers: Mutex::new(Vec::new()),
            seen: watch::Sender::new(0),
        }))
    }

    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.0.store.get(&key.to_string())
    }

    pub fn list(&self) -> Vec<Arc<K>> {
        self.0.store.list()
    }

    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.0.store.list_namespace(namespace)
    }

    pub(super) fn handle(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.0
            .handlers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(handler));
    }

    fn dispatch(&self, change: &Change<K>) {
        for handler in self
            .0
            .handlers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            handler(change);
        }
        let version = |object: &Option<Arc<K>>| {
            object
                .as_ref()
                .and_then(|object| version(object.meta().resource_version()))
        };
        let newest = version(&change.new).max(version(&change.old)).unwrap_or(0);
        self.0.seen.send_if_modified(|seen| {
            let grew = newest > *seen;
            *seen = newest.max(*seen);
            // Waiters also look for deletions, which carry no newer version.
            grew || change.new.is_none()
        });
    }
}

/// A resourceVersion as the number it is (comparable within a resource since 1.35).
pub(super) fn version(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// What a write must have left in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expectation {
    /// The object at this version or later.
    Version(u64),
    /// No object of this uid, or one that is being deleted.
    Deletion(String),
}

/// A cache without its type.
pub(super) trait AnyCache: Send + Sync {
    /// Hands every object and every later change to the handlers, for ever.
    fn run(&self) -> BoxFuture<'static, ()>;
    fn synced(&self) -> BoxFuture<'static, ()>;
    /// Waits until the cache shows everything that was written before this call.
    fn refreshed(&self) -> BoxFuture<'static, ()>;
    /// Waits until the cache meets the expectation.
    fn shows(&self, key: Key, expectation: Expectation) -> BoxFuture<'static, ()>;
    /// Handles every object once more.
    fn replay(&self);
}

impl<K: Object> AnyCache for Cache<K> {
    fn run(&self) -> BoxFuture<'static, ()> {
        let cache = self.clone();
        Box::pin(async move {
            let mut changes = cache.0.store.subscribe();
            loop {
                let change = changes.recv().await;
                cache.dispatch(&change);
            }
        })
    }

    fn synced(&self) -> BoxFuture<'static, ()> {
        let informer = self.0.informer.clone();
        Box::pin(async move {
            if let Some(informer) = informer {
                informer.synced().await;
            }
        })
    }

    fn refreshed(&self) -> BoxFuture<'static, ()> {
        let informer = self.0.informer.clone();
        Box::pin(async move {
            if let Some(informer) = informer {
                informer.refreshed().await;
            }
        })
    }

    fn shows(&self, key: Key, expectation: Expectation) -> BoxFuture<'static, ()> {
        let cache = self.clone();
        Box::pin(async move {
            let mut seen = cache.0.seen.subscribe();
            loop {
                let upto = *seen.borrow_and_update();
                let object = cache.get(&key);
                let met = match &expectation {
                    Expectation::Version(wanted) => {
                        let have = object
                            .as_ref()
                            .and_then(|object| version(object.meta().resource_version()));
                        upto >= *wanted || have.is_some_and(|have| have >= *wanted)
                    }
                    Expectation::Deletion(uid) => object.is_none_or(|object| {
                        let meta = object.meta();
                        meta.uid() != uid || meta.is_terminating()
                    }),
                };
                if met || seen.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    fn replay(&self) {
        for object in self.list() {
            let change = Change {
                key: Key::of(object.meta()).to_string(),
                old: None,
                new: Some(object),
            };
            for handler in self
                .0
                .handlers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
            {
                handler(&change);
            }
        }
    }
}
