//! The groups, versions and resources that are served by default, in upstream's order.
//!
//! Table lines: `G name`, `V version`, `R plural singular kind N|C verbs short-names categories`,
//! `S name kind group/version|- verbs`; lists are comma-separated, `-` is an empty one.

use std::sync::OnceLock;

static DISCOVERY: &str = include_str!("../data/discovery.txt");

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// the core group (`""`) first, then by priority
    pub groups: Vec<DiscoveryGroup>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryGroup {
    /// `""` for the core group
    pub name: String,
    /// the preferred one first
    pub versions: Vec<DiscoveryVersion>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryVersion {
    pub version: String,
    pub resources: Vec<DiscoveryResource>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryResource {
    /// the plural that URLs use
    pub name: String,
    pub singular: String,
    pub kind: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub subresources: Vec<DiscoverySubresource>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoverySubresource {
    pub name: String,
    pub kind: String,
    /// group and version of the kind, when they are not the resource's own
    pub group_version: Option<(String, String)>,
    pub verbs: Vec<String>,
}

impl Discovery {
    pub fn group(&self, name: &str) -> Option<&DiscoveryGroup> {
        self.groups.iter().find(|g| g.name == name)
    }

    pub fn version(&self, group: &str, version: &str) -> Option<&DiscoveryVersion> {
        self.group(group)?.versions.iter().find(|v| v.version == version)
    }

    pub fn resource(&self, group: &str, version: &str, name: &str) -> Option<&DiscoveryResource> {
        self.version(group, version)?
            .resources
            .iter()
            .find(|r| r.name == name)
    }

    /// Every resource with its group and version.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &str, &DiscoveryResource)> {
        self.groups.iter().flat_map(|g| {
            g.versions.iter().flat_map(move |v| {
                v.resources
                    .iter()
                    .map(move |r| (g.name.as_str(), v.version.as_str(), r))
            })
        })
    }
}

impl DiscoveryResource {
    pub fn subresource(&self, name: &str) -> Option<&DiscoverySubresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

/// What is served by default at the API level of this release.
pub fn discovery() -> &'static Discovery {
    static TABLE: OnceLock<Discovery> = OnceLock::new();
    TABLE.get_or_init(|| parse(DISCOVERY))
}

fn parse(text: &str) -> Discovery {
    let mut table = Discovery::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let tag = words.next();
        let mut next = || words.next().unwrap_or_default();
        let group = table.groups.last_mut();
        match (tag, group) {
            (Some("G"), _) => table.groups.push(DiscoveryGroup {
                name: next().to_owned(),
                versions: Vec::new(),
            }),
            (Some("V"), Some(group)) => group.versions.push(DiscoveryVersion {
                version: next().to_owned(),
                resources: Vec::new(),
            }),
            (Some("R"), Some(group)) => {
                if let Some(version) = group.versions.last_mut() {
                    version.resources.push(DiscoveryResource {
                        name: next().to_owned(),
                        singular: next().to_owned(),
                        kind: next().to_owned(),
                        namespaced: next() == "N",
                        verbs: list(next()),
                        short_names: list(next()),
                        categories: list(next()),
                        subresources: Vec::new(),
                    });
                }
            }
            (Some("S"), Some(group)) => {
                let resource = group.versions.last_mut().and_then(|v| v.resources.last_mut());
                if let Some(resource) = resource {
                    resource.subresources.push(DiscoverySubresource {
                        name: next().to_owned(),
                        kind: next().to_owned(),
                        group_version: next().split_once('/').map(|(g, v)| (g.to_owned(), v.to_owned())),
                        verbs: list(next()),
                    });
                }
            }
            _ => {}
        }
    }
    table
}

fn list(text: &str) -> Vec<String> {
    text.split(',')
        .filter(|w| *w != "-" && !w.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_served_set_is_complete() {
        let table = discovery();
        let versions: usize = table.groups.iter().map(|g| g.versions.len()).sum();
        assert_eq!(versions, 22);
        assert_eq!(table.groups[0].name, "");
        assert_eq!(table.groups[1].name, "apiregistration.k8s.io");
        let pods = table.resource("", "v1", "pods").expect("a resource");
        assert_eq!((pods.singular.as_str(), pods.namespaced), ("pod", true));
        assert_eq!(pods.short_names, ["po"]);
        let eviction = pods.subresource("eviction").expect("a sub-resource");
        assert_eq!(eviction.group_version, Some(("policy".into(), "v1".into())));
    }

    #[test]
    fn every_served_kind_has_a_schema() {
        for (group, version, resource) in discovery().resources() {
            let found = crate::schema_for(group, version, &resource.kind);
            assert!(found.is_some(), "{group}/{version}/{}", resource.kind);
            for sub in &resource.subresources {
                let own = (group.to_owned(), version.to_owned());
                let (group, version) = sub.group_version.clone().unwrap_or(own);
                let found = crate::schema_for(&group, &version, &sub.kind);
                assert!(found.is_some(), "{group}/{version}/{}", sub.kind);
            }
        }
    }
}
