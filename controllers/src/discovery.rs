//! Which resources the server has: the set changes with custom resources and aggregated servers.

use crate::object::ResourceType;
use crate::runner::SyncError;
use http::header::ACCEPT;
use kube::Client;
use kube::api::ListParams;
use kube::core::{ObjectList, PartialObjectMeta, Request};
use serde::Deserialize;
use serde_json::Value;

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// A resource, in the version the server prefers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Discovered {
    pub resource: ResourceType,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

impl Discovered {
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|have| have == verb)
    }
}

/// Everything discovered, and the group versions that could not be read (an aggregated server is down).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub all: Vec<Discovered>,
    pub failed: Vec<String>,
}

impl Resources {
    /// The resource of a kind in any version.
    pub fn by_kind(&self, group: &str, kind: &str) -> Option<&Discovered> {
        self.all
            .iter()
            .find(|found| found.resource.group == group && found.resource.kind == kind)
    }
}

/// Asks the server, by aggregated discovery where it's spoken: two requests for everything.
///
/// # Errors
/// When the server doesn't answer.
pub async fn discover(client: &Client) -> Result<Resources, kube::Error> {
    let mut resources = Resources::default();
    for root in ["/api", "/apis"] {
        let answer = get(client, root).await?;
        if answer["kind"] == "APIGroupDiscoveryList" {
            let list: GroupList = serde_json::from_value(answer).map_err(kube::Error::SerdeError)?;
            aggregated(list, &mut resources);
        } else {
            for version in preferred(&answer) {
                let path = if version.contains('/') {
                    format!("/apis/{version}")
                } else {
                    format!("/api/{version}")
                };
                match get(client, &path).await {
                    Ok(list) => legacy(&version, &list, &mut resources),
                    Err(kube::Error::Api(_)) => resources.failed.push(version),
                    Err(error) => return Err(error),
                }
            }
        }
    }
    resources.all.sort();
    Ok(resources)
}

/// The metadata of all objects of a resource, in one namespace or (with an empty one) everywhere, as the server has them
/// now. None when the resource is gone since it was discovered, or can't be listed.
///
/// # Errors
/// When the server doesn't answer.
pub async fn list_metadata(
    client: &Client,
    found: &Discovered,
    namespace: &str,
) -> Result<Vec<PartialObjectMeta>, SyncError> {
    let version = found.resource.api_version();
    let root = if found.resource.group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{version}")
    };
    let plural = &found.resource.plural;
    let url = if namespace.is_empty() {
        format!("{root}/{plural}")
    } else {
        format!("{root}/namespaces/{namespace}/{plural}")
    };
    let request = Request::new(url)
        .list_metadata(&ListParams::default())
        .map_err(|error| SyncError::Other(error.to_string()))?;
    match client.request::<ObjectList<PartialObjectMeta>>(request).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 405 => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

async fn get(client: &Client, path: &str) -> Result<Value, kube::Error> {
    let request = http::Request::get(path)
        .header(ACCEPT, AGGREGATED)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}

#[derive(Deserialize)]
struct GroupList {
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    metadata: kube::core::ObjectMeta,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    freshness: Option<String>,
    #[serde(default)]
    resources: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    resource: String,
    response_kind: Option<Kind>,
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    kind: String,
}

fn aggregated(list: GroupList, resources: &mut Resources) {
    for group in list.items {
        let name = group.metadata.name.unwrap_or_default();
        // Versions come in the order of preference: the first that has a resource counts.
        for version in group.versions {
            if version.freshness.as_deref() == Some("Stale") {
                resources.failed.push(format!("{name}/{}", version.version));
            }
            for listed in version.resources {
                let found = Discovered {
                    resource: ResourceType {
                        group: name.clone(),
                        version: version.version.clone(),
                        kind: listed.response_kind.map(|kind| kind.kind).unwrap_or_default(),
                        plural: listed.resource,
                    },
                    namespaced: listed.scope == "Namespaced",
                    verbs: listed.verbs,
                };
                add(found, resources);
            }
        }
    }
}

fn add(found: Discovered, resources: &mut Resources) {
    let known = resources.all.iter().any(|have| {
        have.resource.group == found.resource.group && have.resource.plural == found.resource.plural
    });
    if !known {
        resources.all.push(found);
    }
}

/// Group versions of a legacy `APIVersions` or `APIGroupList`, preferred ones first within a group.
fn preferred(answer: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(versions) = answer["versions"].as_array() {
        return versions.iter().filter_map(text).collect();
    }
    let mut all = Vec::new();
    for group in answer["groups"].as_array().into_iter().flatten() {
        let first = text(&group["preferredVersion"]["groupVersion"]);
        let others = group["versions"].as_array().into_iter().flatten();
        let others = others.filter_map(|version| text(&version["groupVersion"]));
        let mut versions: Vec<String> = first.iter().cloned().collect();
        versions.extend(others.filter(|version| Some(version) != first.as_ref()));
        all.extend(versions);
    }
    all
}

fn legacy(group_version: &str, list: &Value, resources: &mut Resources) {
    let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
    for listed in list["resources"].as_array().into_iter().flatten() {
        let text = |field: &str| listed[field].as_str().unwrap_or_default().to_owned();
        let plural = text("name");
        if plural.contains('/') {
            continue;
        }
        let verbs = listed["verbs"].as_array().into_iter().flatten();
        let found = Discovered {
            resource: ResourceType {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text("kind"),
                plural,
            },
            namespaced: listed["namespaced"] == true,
            verbs: verbs
                .filter_map(|verb| verb.as_str().map(str::to_owned))
                .collect(),
        };
        add(found, resources);
    }
}
