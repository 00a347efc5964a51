//! From changes of objects to keys that need a look.

use super::cache::Cache;
use crate::object::{Key, MetaView, Object};
use kubeclient::{Change, Queue};

/// Collects what a controller watches.
pub struct Watches<'a> {
    queue: &'a Queue<Key>,
}

impl<'a> Watches<'a> {
    pub(crate) fn new(queue: &'a Queue<Key>) -> Self {
        Self { queue }
    }

    /// Every change of an object is a look at that object.
    pub fn objects<K: Object>(&mut self, cache: &Cache<K>) {
        self.on(cache, |change| {
            let object = change.new.as_ref().or(change.old.as_ref());
            object.map(|object| Key::of(object.meta())).into_iter().collect()
        });
    }

    /// A change of a child is a look at the owner of this kind, before and after; a child without an owner is a look
    /// at those that may adopt it.
    pub fn children<C: Object>(
        &mut self,
        cache: &Cache<C>,
        owner_kind: &'static str,
        adopters: impl Fn(&C) -> Vec<Key> + Send + Sync + 'static,
    ) {
        self.on(cache, move |change| {
            let mut keys = Vec::new();
            for child in [&change.old, &change.new].into_iter().flatten() {
                let meta = child.meta();
                match meta.controller() {
                    Some(owner) if owner.kind == owner_kind => {
                        keys.push(Key::new(meta.namespace(), &owner.name));
                    }
                    Some(_) => {}
                    None => keys.extend(adopters(child)),
                }
            }
            keys.dedup();
            keys
        });
    }

    /// Every change is a look at the keys that `map` gives.
    pub fn on<K: Object>(
        &mut self,
        cache: &Cache<K>,
        map: impl Fn(&Change<K>) -> Vec<Key> + Send + Sync + 'static,
    ) {
        let queue = self.queue.clone();
        cache.handle(move |change| {
            for key in map(change) {
                queue.add(key);
            }
        });
    }

    /// The queue itself, for a controller that watches by itself.
    pub fn queue(&self) -> Queue<Key> {
        self.queue.clone()
    }

    /// A look that needs no change to start with, such as a periodic one that asks for itself again.
    pub fn once(&mut self, key: Key) {
        self.queue.add(key);
    }
}
