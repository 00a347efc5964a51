//! The built-in resources, from the discovery table of the schema crate.

use kubeschema::{DiscoveryResource, discovery};

use crate::GroupVersionKind;
use crate::field_selector::FieldRule;
use crate::resource::{GroupVersionResource, Resource, Subresource};
use crate::strategy::built_in;

/// Every resource that is served by default.
pub fn built_in_resources() -> Vec<Resource> {
    discovery()
        .resources()
        .map(|(group, version, found)| resource(group, version, found))
        .collect()
}

fn resource(group: &str, version: &str, found: &DiscoveryResource) -> Resource {
    let storage_kind = storage_kind(group, version, &found.kind);
    let storage_prefix = if storage_kind.group.is_empty() {
        format!("/registry/{}", found.name)
    } else {
        format!("/registry/{}/{}", storage_kind.group, found.name)
    };
    Resource {
        gvr: GroupVersionResource::new(group, version, &found.name),
        kind: found.kind.clone(),
        list_kind: format!("{}List", found.kind),
        singular: found.singular.clone(),
        namespaced: found.namespaced,
        verbs: found.verbs.clone(),
        short_names: found.short_names.clone(),
        categories: found.categories.clone(),
        subresources: found
            .subresources
            .iter()
            .map(|subresource| {
                let (kind_group, kind_version) = subresource
                    .group_version
                    .clone()
                    .unwrap_or((group.to_owned(), version.to_owned()));
                Subresource {
                    name: subresource.name.clone(),
                    kind: GroupVersionKind::new(&kind_group, &kind_version, &subresource.kind),
                    verbs: subresource.verbs.clone(),
                }
            })
            .collect(),
        storage_prefix,
        storage_kind,
        field_rule: FieldRule::built_in(group, &found.name, found.namespaced),
        strategy: built_in(group, &found.name),
        custom: false,
    }
}

/// In which version objects are stored. Two pairs of views share their objects.
fn storage_kind(group: &str, version: &str, kind: &str) -> GroupVersionKind {
    match (group, kind) {
        ("events.k8s.io", "Event") => GroupVersionKind::new("", "v1", "Event"),
        ("autoscaling", "HorizontalPodAutoscaler") => GroupVersionKind::new("autoscaling", "v2", kind),
        _ => GroupVersionKind::new(group, version, kind),
    }
}
