//! All resources that are served, by group, version and name.
//!
//! Built once from the discovery table; custom resources join and leave by [`Registry::insert`] and
//! [`Registry::remove`]. The shell keeps it behind a shared pointer and swaps a changed copy in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::resource::{GroupResource, GroupVersionKind, GroupVersionResource, Resource};

/// The served resources.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    by_resource: BTreeMap<GroupVersionResource, Arc<Resource>>,
    by_kind: BTreeMap<GroupVersionKind, GroupVersionResource>,
}

impl Registry {
    /// Adds a resource or replaces the one of the same group, version and name.
    pub fn insert(&mut self, resource: Resource) {
        self.remove(&resource.gvr);
        self.by_kind.insert(resource.gvk(), resource.gvr.clone());
        self.by_resource.insert(resource.gvr.clone(), Arc::new(resource));
    }

    pub fn remove(&mut self, gvr: &GroupVersionResource) -> Option<Arc<Resource>> {
        let removed = self.by_resource.remove(gvr)?;
        if self.by_kind.get(&removed.gvk()) == Some(gvr) {
            self.by_kind.remove(&removed.gvk());
        }
        Some(removed)
    }

    pub fn get(&self, gvr: &GroupVersionResource) -> Option<&Arc<Resource>> {
        self.by_resource.get(gvr)
    }

    pub fn lookup(&self, group: &str, version: &str, resource: &str) -> Option<&Arc<Resource>> {
        self.get(&GroupVersionResource::new(group, version, resource))
    }

    pub fn by_kind(&self, gvk: &GroupVersionKind) -> Option<&Arc<Resource>> {
        self.by_kind.get(gvk).and_then(|gvr| self.by_resource.get(gvr))
    }

    /// The versions of a resource, the stored one first.
    pub fn versions_of(&self, resource: &GroupResource) -> Vec<&Arc<Resource>> {
        let mut found: Vec<_> = self
            .iter()
            .filter(|known| known.group_resource() == *resource)
            .collect();
        found.sort_by_key(|known| known.needs_conversion());
        found
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_resource.values()
    }

    /// One resource for each storage prefix, the one of the stored version: what a watch cache is made for.
    pub fn stored(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.iter()
            .filter(|resource| resource.is_stored() && !resource.needs_conversion())
    }

    /// The resource of the stored version behind a served one.
    pub fn storage_of(&self, resource: &Resource) -> Option<&Arc<Resource>> {
        self.by_kind(&resource.storage_kind)
    }

    pub fn has_group(&self, group: &str) -> bool {
        self.iter().any(|resource| resource.gvr.group == group)
    }

    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.iter()
            .any(|resource| resource.gvr.group == group && resource.gvr.version == version)
    }
}
