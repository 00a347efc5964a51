//! All resources that are served, by group, version and name.
//!
//! Built once from the discovery table; custom resources join and leave by [`Registry::insert`] and
//! [`Registry::remove`]. The shell keeps it behind a shared pointer and swaps a changed copy in.

mod discovery_table;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::GroupVersionKind;
use crate::resource::{GroupResource, GroupVersionResource, Resource};

pub use discovery_table::built_in_resources;

/// The served resources.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    by_resource: BTreeMap<GroupVersionResource, Arc<Resource>>,
    by_kind: BTreeMap<GroupVersionKind, GroupVersionResource>,
}

impl Registry {
    /// The resources of Kubernetes 1.36 that are on by default.
    pub fn built_in() -> Self {
        let mut registry = Self::default();
        for resource in built_in_resources() {
            registry.insert(resource);
        }
        registry
    }

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

/// A built-in resource by its plural name, for tests.
#[cfg(test)]
pub(crate) fn test_resource(plural: &str) -> Resource {
    built_in_resources()
        .into_iter()
        .find(|resource| resource.gvr.resource == plural && !resource.needs_conversion())
        .expect("a built-in resource")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_resources_are_there() {
        let registry = Registry::built_in();
        let pods = registry.lookup("", "v1", "pods").unwrap();
        assert_eq!(pods.key("default", "a"), "/registry/pods/default/a");
        assert_eq!(pods.key_prefix(""), "/registry/pods/");
        let deployments = registry.lookup("apps", "v1", "deployments").unwrap();
        assert_eq!(deployments.key_prefix("d"), "/registry/apps/deployments/d/");
        assert_eq!(
            deployments.subresource("scale").unwrap().kind.api_version(),
            "autoscaling/v1"
        );
        assert_eq!(
            registry
                .by_kind(&GroupVersionKind::new("apps", "v1", "Deployment"))
                .unwrap()
                .gvr,
            deployments.gvr
        );
        assert!(
            !registry
                .lookup("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
                .unwrap()
                .is_stored()
        );
    }

    #[test]
    fn two_views_share_their_objects() {
        let registry = Registry::built_in();
        let (core, new) = (
            registry.lookup("", "v1", "events").unwrap(),
            registry.lookup("events.k8s.io", "v1", "events").unwrap(),
        );
        assert_eq!(core.storage_prefix, new.storage_prefix);
        assert!(new.needs_conversion() && !core.needs_conversion());
        assert_eq!(registry.storage_of(new).unwrap().gvr, core.gvr);
        let prefixes: Vec<_> = registry
            .stored()
            .map(|resource| &resource.storage_prefix)
            .collect();
        let mut unique = prefixes.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(prefixes.len(), unique.len());
    }
}
