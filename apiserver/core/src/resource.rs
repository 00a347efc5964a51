//! Names of things in the API, and one served resource.

use std::fmt;
use std::sync::Arc;

use kubeschema::GroupVersionKind;

use crate::field_selector::FieldRule;
use crate::strategy::Strategy;

/// A group and a resource in it: `deployments.apps`, or `pods` for the group without name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GroupResource {
    pub group: String,
    pub resource: String,
}

impl GroupResource {
    pub fn new(group: &str, resource: &str) -> Self {
        Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
        }
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}

/// A resource in one version of its group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GroupVersionResource {
    pub group: String,
    pub version: String,
    pub resource: String,
}

impl GroupVersionResource {
    pub fn new(group: &str, version: &str, resource: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
        }
    }

    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(&self.group, &self.resource)
    }
}

/// A subresource endpoint of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    pub name: String,
    /// The kind of its bodies; for example `autoscaling/v1 Scale`. An empty group and version in the discovery
    /// table means those of the resource, and is filled in here.
    pub kind: GroupVersionKind,
    pub verbs: Vec<String>,
}

/// One resource in one version, as served.
#[derive(Clone)]
pub struct Resource {
    pub gvr: GroupVersionResource,
    pub kind: String,
    /// The kind of a list: `PodList`.
    pub list_kind: String,
    pub singular: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub subresources: Vec<Subresource>,
    /// Where objects live in the store: `/registry/pods`, `/registry/apps/deployments` (no slash at the end). Two
    /// served resources with the same prefix are two views of the same objects.
    pub storage_prefix: String,
    /// The kind and version that objects have in the store.
    pub storage_kind: GroupVersionKind,
    /// Which field selectors it has.
    pub field_rule: FieldRule,
    /// What is special about it.
    pub strategy: Arc<dyn Strategy>,
    /// Defined by a CustomResourceDefinition.
    pub custom: bool,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("gvr", &self.gvr)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Resource {
    pub fn group_resource(&self) -> GroupResource {
        self.gvr.group_resource()
    }

    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(&self.gvr.group, &self.gvr.version, &self.kind)
    }

    pub fn api_version(&self) -> String {
        self.gvk().api_version()
    }

    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources
            .iter()
            .find(|subresource| subresource.name == name)
    }

    /// Objects of it are stored; false for reviews and other answers without state.
    pub fn is_stored(&self) -> bool {
        self.has_verb("get") && self.kind != "ComponentStatus"
    }

    /// The objects in the store are of another version than the one served.
    pub fn needs_conversion(&self) -> bool {
        self.storage_kind != self.gvk()
    }

    /// The key of an object. `namespace` is ignored for cluster-scoped resources.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced {
            format!("{}/{namespace}/{name}", self.storage_prefix)
        } else {
            format!("{}/{name}", self.storage_prefix)
        }
    }

    /// The prefix of the keys of all objects, or of those in a namespace when it is not empty; ends with a slash.
    pub fn key_prefix(&self, namespace: &str) -> String {
        if self.namespaced && !namespace.is_empty() {
            format!("{}/{namespace}/", self.storage_prefix)
        } else {
            format!("{}/", self.storage_prefix)
        }
    }
}
