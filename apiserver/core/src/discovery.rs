//! Discovery documents: which groups, versions and resources are served.
//!
//! A [`Catalog`] is made from the [`Registry`], custom resources included, and again whenever it changes. The
//! built-in groups come first, in upstream's order; other groups follow by name, their versions the most stable
//! first. Every function is pure; [`Document`] holds the bytes and the entity tag to answer with.
//!
//! | path | document |
//! |---|---|
//! | `/api` | [`Catalog::api_versions`], or [`Catalog::aggregated`] with `core` |
//! | `/apis` | [`Catalog::group_list`], or [`Catalog::aggregated`] without `core` |
//! | `/apis/G` | [`Catalog::group`] |
//! | `/api/v1`, `/apis/G/V` | [`Catalog::resource_list`] |
//!
//! Follows `apiserver/pkg/endpoints/discovery` and `apiserver/pkg/endpoints/installer.go` (1.36).

mod version_order;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::GroupVersionKind;
use crate::registry::Registry;
use crate::resource::Resource;

pub use version_order::compare_versions;

/// A version of the aggregated discovery API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregatedVersion {
    V2,
    V2beta1,
}

impl AggregatedVersion {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2beta1 => "v2beta1",
        }
    }

    /// The `Content-Type` of the answer: clients look for exactly these parameters.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        }
    }
}

/// A serialized document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub body: Vec<u8>,
    /// quoted; an equal `If-None-Match` is answered by 304
    pub etag: String,
}

impl Document {
    pub fn new(value: &Value) -> Self {
        Self::of_bytes(value.to_string().into_bytes())
    }

    pub fn of_bytes(body: Vec<u8>) -> Self {
        let etag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&body)));
        Self { body, etag }
    }
}

/// The served groups in order.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub groups: Vec<CatalogGroup>,
}

/// A group; `""` is the core group.
#[derive(Clone, Debug)]
pub struct CatalogGroup {
    pub name: String,
    /// the preferred one first
    pub versions: Vec<CatalogVersion>,
}

#[derive(Clone, Debug)]
pub struct CatalogVersion {
    pub version: String,
    /// by name
    pub resources: Vec<Arc<Resource>>,
}

impl Catalog {
    pub fn new(registry: &Registry) -> Self {
        let mut catalog = Self::default();
        for group in &kubeschema::discovery().groups {
            for version in &group.versions {
                if registry.has_version(&group.name, &version.version) {
                    catalog.version_mut(&group.name, &version.version);
                }
            }
        }
        let known = catalog.groups.len();
        for resource in registry.iter() {
            let version = catalog.version_mut(&resource.gvr.group, &resource.gvr.version);
            version.resources.push(resource.clone());
        }
        catalog.groups[known..].sort_by(|a, b| a.name.cmp(&b.name));
        for group in &mut catalog.groups[known..] {
            group
                .versions
                .sort_by(|a, b| compare_versions(&a.version, &b.version));
        }
        catalog
    }

    fn version_mut(&mut self, group: &str, version: &str) -> &mut CatalogVersion {
        let at = self
            .groups
            .iter()
            .position(|g| g.name == group)
            .unwrap_or_else(|| {
                self.groups.push(CatalogGroup {
                    name: group.to_owned(),
                    versions: Vec::new(),
                });
                self.groups.len() - 1
            });
        let versions = &mut self.groups[at].versions;
        let at = versions
            .iter()
            .position(|v| v.version == version)
            .unwrap_or_else(|| {
                versions.push(CatalogVersion {
                    version: version.to_owned(),
                    resources: Vec::new(),
                });
                versions.len() - 1
            });
        &mut versions[at]
    }

    /// `GET /api`. `server_address` is `host:port`.
    pub fn api_versions(&self, server_address: &str) -> Value {
        json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
        })
    }

    /// `GET /apis`
    pub fn group_list(&self) -> Value {
        let groups: Vec<Value> = self
            .groups
            .iter()
            .filter(|group| !group.name.is_empty())
            .map(|group| Value::Object(group_body(group)))
            .collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    /// `GET /apis/G`
    pub fn group(&self, name: &str) -> Option<Value> {
        let group = self.groups.iter().find(|g| g.name == name && !name.is_empty())?;
        let mut body = group_body(group);
        body.insert("kind".to_owned(), "APIGroup".into());
        body.insert("apiVersion".to_owned(), "v1".into());
        Some(Value::Object(body))
    }

    /// `GET /api/v1`, `GET /apis/G/V`
    pub fn resource_list(&self, group: &str, version: &str) -> Option<Value> {
        let found = self.version(group, version)?;
        let mut entries: Vec<Value> = found
            .resources
            .iter()
            .flat_map(|resource| resource_entries(resource))
            .collect();
        entries.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        let mut list = json!({
            "kind": "APIResourceList",
            "groupVersion": group_version(group, version),
            "resources": entries,
        });
        if !group.is_empty() {
            list["apiVersion"] = "v1".into();
        }
        Some(list)
    }

    fn version(&self, group: &str, version: &str) -> Option<&CatalogVersion> {
        let group = self.groups.iter().find(|g| g.name == group)?;
        group.versions.iter().find(|v| v.version == version)
    }

    /// `GET /api` (`core`) and `GET /apis` in their aggregated form.
    pub fn aggregated(&self, version: AggregatedVersion, core: bool) -> Value {
        let items: Vec<Value> = self
            .groups
            .iter()
            .filter(|group| group.name.is_empty() == core)
            .map(aggregated_group)
            .collect();
        json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": format!("apidiscovery.k8s.io/{}", version.as_str()),
            "metadata": {},
            "items": items,
        })
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn group_body(group: &CatalogGroup) -> Map<String, Value> {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|v| json!({"groupVersion": group_version(&group.name, &v.version), "version": v.version}))
        .collect();
    let mut body = Map::new();
    body.insert("name".to_owned(), group.name.clone().into());
    body.insert(
        "preferredVersion".to_owned(),
        versions.first().cloned().unwrap_or_default(),
    );
    body.insert("versions".to_owned(), versions.into());
    body
}

/// A resource and its sub-resources, as the flat entries of an `APIResourceList`.
fn resource_entries(resource: &Resource) -> Vec<Value> {
    let mut entry = json!({
        "name": resource.gvr.resource,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    if resource.is_stored() {
        entry["storageVersionHash"] = storage_version_hash(&resource.storage_kind).into();
    }
    let mut entries = vec![entry];
    for sub in &resource.subresources {
        let mut entry = json!({
            "name": format!("{}/{}", resource.gvr.resource, sub.name),
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": sub.kind.kind,
            "verbs": sub.verbs,
        });
        if let Some((group, version)) = foreign(resource, &sub.kind) {
            entry["group"] = group.into();
            entry["version"] = version.into();
        }
        entries.push(entry);
    }
    entries
}

/// Group and version of a kind that is not of the resource's own version.
fn foreign<'k>(resource: &Resource, kind: &'k GroupVersionKind) -> Option<(&'k str, &'k str)> {
    let own = kind.group == resource.gvr.group && kind.version == resource.gvr.version;
    (!own).then_some((kind.group.as_str(), kind.version.as_str()))
}

/// Upstream's `discovery.StorageVersionHash`.
pub fn storage_version_hash(kind: &GroupVersionKind) -> String {
    let digest = Sha256::digest(format!("{}/{}/{}", kind.group, kind.version, kind.kind));
    STANDARD.encode(&digest[..8])
}

fn aggregated_group(group: &CatalogGroup) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let resources: Vec<Value> = version.resources.iter().map(|r| aggregated_resource(r)).collect();
            json!({"version": version.version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.name.is_empty() {
        json!({})
    } else {
        json!({"name": group.name})
    };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let response_kind = |kind: &GroupVersionKind| {
        // Custom resources name their group and version, built-in ones only where it is another one.
        let shown = resource
            .custom
            .then_some((kind.group.as_str(), kind.version.as_str()));
        let (group, version) = shown.or(foreign(resource, kind)).unwrap_or_default();
        json!({"group": group, "version": version, "kind": kind.kind})
    };
    let mut entry = json!({
        "resource": resource.gvr.resource,
        "responseKind": response_kind(&resource.gvk()),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub| json!({"subresource": sub.name, "responseKind": response_kind(&sub.kind), "verbs": sub.verbs}))
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

#[cfg(test)]
mod tests;
