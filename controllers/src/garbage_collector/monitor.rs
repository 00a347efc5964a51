//! Keeps the graph current: one metadata informer for every deletable resource the server has.

use super::graph::Graph;
use crate::discovery::{Discovered, Resources, discover};
use crate::object::{Key, MetaView, ResourceType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Api, Client};
use kubeclient::{Informer, Queue};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::Env;
use tokio_util::task::AbortOnDropHandle;

/// How often new kinds are looked for. Upstream: 30 s.
const DISCOVERY: Duration = Duration::from_secs(10);
/// Until the first discovery succeeds.
const DISCOVERY_RETRY: Duration = Duration::from_secs(1);

pub struct Monitor {
    client: Client,
    env: Env,
    graph: Arc<Mutex<Graph>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    resources: Resources,
    watched: BTreeMap<ResourceType, Watched>,
    discovered: bool,
    refresher: Option<AbortOnDropHandle<()>>,
}

struct Watched {
    informer: Informer<PartialObjectMeta<DynamicObject>>,
    _task: AbortOnDropHandle<()>,
}

impl Monitor {
    pub fn new(client: Client, env: Env) -> Self {
        Self {
            client,
            env,
            graph: Arc::default(),
            state: Mutex::default(),
        }
    }

    pub fn read<T>(&self, look: impl FnOnce(&Graph) -> T) -> T {
        look(&self.graph.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether every known resource is listed.
    pub fn is_complete(&self) -> bool {
        let state = self.state();
        state.discovered
            && state
                .watched
                .values()
                .all(|watched| watched.informer.store().is_synced())
    }

    pub fn resource_of(&self, group: &str, kind: &str) -> Option<Discovered> {
        self.state().resources.by_kind(group, kind).cloned()
    }

    /// Every resource whose objects may be dependents.
    pub fn collected(&self) -> Vec<Discovered> {
        let state = self.state();
        let all = state.resources.all.iter();
        all.filter(|found| is_collected(found)).cloned().collect()
    }

    /// Follows the server's resources from now on; uids that need a look go to `queue`.
    pub fn start(self: &Arc<Self>, queue: Queue<Key>) {
        let weak = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            while let Some(monitor) = weak.upgrade() {
                let found = discover(&monitor.client).await;
                let pause = match found {
                    Ok(resources) => {
                        monitor.follow(resources, &queue);
                        DISCOVERY
                    }
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "discovery failed");
                        DISCOVERY_RETRY
                    }
                };
                drop(monitor);
                tokio::time::sleep(pause).await;
            }
        });
        self.state().refresher = Some(AbortOnDropHandle::new(task));
    }

    fn follow(&self, resources: Resources, queue: &Queue<Key>) {
        let wanted: Vec<&Discovered> = resources.all.iter().filter(|found| is_collected(found)).collect();
        let mut state = self.state();
        // A group that failed to answer keeps its informers; its resources aren't known to be gone.
        let failed = |resource: &ResourceType| {
            resources
                .failed
                .iter()
                .any(|version| *version == resource.api_version())
        };
        let gone: Vec<ResourceType> = state
            .watched
            .keys()
            .filter(|resource| !wanted.iter().any(|found| found.resource == **resource) && !failed(resource))
            .cloned()
            .collect();
        for resource in gone {
            if let Some(watched) = state.watched.remove(&resource) {
                self.forget(&watched, queue);
            }
        }
        for found in wanted {
            if !state.watched.contains_key(&found.resource) {
                let watched = self.watch(&found.resource, queue.clone());
                state.watched.insert(found.resource.clone(), watched);
            }
        }
        state.resources = resources;
        state.discovered = true;
    }

    fn watch(&self, resource: &ResourceType, queue: Queue<Key>) -> Watched {
        let api_resource = ApiResource {
            group: resource.group.clone(),
            version: resource.version.clone(),
            api_version: resource.api_version(),
            kind: resource.kind.clone(),
            plural: resource.plural.clone(),
        };
        let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(self.client.clone(), &api_resource);
        let informer = Informer::all(api, &self.env);
        let mut changes = informer.subscribe();
        let (graph, resource) = (Arc::clone(&self.graph), resource.clone());
        let task = tokio::spawn(async move {
            loop {
                let change = changes.recv().await;
                let mut graph = graph.lock().unwrap_or_else(PoisonError::into_inner);
                let mut look = Vec::new();
                let uid = |object: &PartialObjectMeta<DynamicObject>| object.metadata.uid().to_owned();
                let new_uid = change.new.as_deref().map(uid);
                if let Some(old) = change.old.as_deref()
                    && new_uid.as_deref() != Some(old.metadata.uid())
                {
                    look.extend(graph.remove(old.metadata.uid()));
                }
                if let Some(new) = change.new {
                    look.extend(graph.apply(&resource, Arc::new(relevant(&new.metadata))));
                }
                drop(graph);
                look.into_iter().for_each(|uid| queue.add(Key::cluster(&uid)));
            }
        });
        Watched {
            informer,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn forget(&self, watched: &Watched, queue: &Queue<Key>) {
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        for object in watched.informer.store().list() {
            for uid in graph.remove(object.metadata.uid()) {
                queue.add(Key::cluster(&uid));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events come and go by themselves. Source: `garbagecollector.DefaultIgnoredResources` (1.36).
fn is_collected(found: &Discovered) -> bool {
    let deletable = ["delete", "list", "watch"].iter().all(|verb| found.can(verb));
    deletable && found.resource.plural != "events"
}

/// What the graph reads, so that it holds no labels and annotations of the whole cluster.
pub fn relevant(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        deletion_timestamp: meta.deletion_timestamp.clone(),
        finalizers: meta.finalizers.clone(),
        owner_references: meta.owner_references.clone(),
        ..ObjectMeta::default()
    }
}
