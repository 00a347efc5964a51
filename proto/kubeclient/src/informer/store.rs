//! The ordered copy: one writer, any number of readers.

use super::changes::{Changes, Pending};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use tokio::sync::watch;

/// `namespace/name`, or `name` alone for a resource without namespaces.
pub type ObjectKey = String;

/// The key of an object in a [`Store`].
pub fn object_key<K: kube::Resource>(object: &K) -> ObjectKey {
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    match meta.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}"),
        _ => name.to_owned(),
    }
}

/// A read-only handle on an informer's objects. Cheap to clone.
pub struct Store<K>(Arc<Shared<K>>);

struct Shared<K> {
    objects: RwLock<BTreeMap<ObjectKey, Arc<K>>>,
    subscribers: Mutex<Vec<Weak<Pending<K>>>>,
    synced: watch::Sender<bool>,
}

impl<K> Clone for Store<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Store<K> {
    /// A store that nothing fills yet; tests and replays fill it with [`Store::replace`] and the like.
    pub fn empty() -> Self {
        Self(Arc::new(Shared {
            objects: RwLock::new(BTreeMap::new()),
            subscribers: Mutex::new(Vec::new()),
            synced: watch::Sender::new(false),
        }))
    }

    pub fn get(&self, key: &str) -> Option<Arc<K>> {
        self.read(|objects| objects.get(key).cloned())
    }

    /// Everything, in the order of the keys.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.read(|objects| objects.values().cloned().collect())
    }

    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        // '0' follows '/' in ASCII, so this range holds exactly the keys that start with `namespace/`.
        let (from, to) = (format!("{namespace}/"), format!("{namespace}0"));
        self.read(|objects| {
            objects
                .range(from..to)
                .map(|(_, object)| Arc::clone(object))
                .collect()
        })
    }

    pub fn len(&self) -> usize {
        self.read(BTreeMap::len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_synced(&self) -> bool {
        *self.0.synced.borrow()
    }

    /// Waits for the first complete list.
    pub async fn synced(&self) {
        let mut synced = self.0.synced.subscribe();
        // The sender lives in `self`, so waiting can't fail.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Every object of now and every change from now on; see [`Changes`].
    pub fn subscribe(&self) -> Changes<K> {
        // Writers hold the write lock while they notify: nothing falls between the copy and the registration.
        let objects = self.0.objects.read().unwrap_or_else(PoisonError::into_inner);
        let pending = Arc::new(Pending::new(objects.keys().cloned()));
        let mut subscribers = self.0.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        subscribers.push(Arc::downgrade(&pending));
        Changes::new(self.clone(), pending)
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&BTreeMap<ObjectKey, Arc<K>>) -> T) -> T {
        look(&self.0.objects.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn notify(&self, key: &str, old: Option<&Arc<K>>) {
        let subscribers = self.0.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        for subscriber in subscribers.iter().filter_map(Weak::upgrade) {
            subscriber.changed(key, old);
        }
    }
}

impl<K: kube::Resource> Store<K> {
    /// Adds or replaces one object.
    pub fn apply(&self, mut object: K) {
        object.meta_mut().managed_fields = None;
        let key = object_key(&object);
        let mut objects = self.0.objects.write().unwrap_or_else(PoisonError::into_inner);
        let old = objects.insert(key.clone(), Arc::new(object));
        self.notify(&key, old.as_ref());
    }

    /// Removes one object.
    pub fn delete(&self, object: &K) {
        let key = object_key(object);
        let mut objects = self.0.objects.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = objects.remove(&key) {
            self.notify(&key, Some(&old));
        }
    }

    /// Takes `listed` for everything there is: what isn't in it is gone. Marks the store as synced.
    pub fn replace(&self, listed: Vec<K>) {
        let mut objects = self.0.objects.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *objects);
        for mut object in listed {
            let key = object_key(&object);
            let old = before.remove(&key);
            match old {
                Some(old) if is_same_version(&*old, &object) => {
                    objects.insert(key, old);
                }
                old => {
                    object.meta_mut().managed_fields = None;
                    objects.insert(key.clone(), Arc::new(object));
                    self.notify(&key, old.as_ref());
                }
            }
        }
        for (key, old) in before {
            self.notify(&key, Some(&old));
        }
        drop(objects);
        self.0.synced.send_replace(true);
    }
}

fn is_same_version<K: kube::Resource>(left: &K, right: &K) -> bool {
    let (left, right) = (left.meta(), right.meta());
    left.resource_version.is_some()
        && left.resource_version == right.resource_version
        && left.uid == right.uid
}

impl<K> std::fmt::Debug for Store<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({} objects)", self.len())
    }
}
