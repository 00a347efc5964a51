//! Garbage collector: deletes what its owners left behind.
//!
//! Watches the metadata of every deletable resource, keeps the graph of owner references, and plans for one object at
//! a time. Keys are uids.

mod graph;
mod monitor;
mod plan;
#[cfg(test)]
mod tests;

use crate::action::Plan;
use crate::discovery::list_metadata;
use crate::object::{Key, MetaView};
use crate::runner::{Context, Controller, SyncError, Watches};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use graph::Owner;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::GetParams;
use kube::core::{PartialObjectMeta, Request};
use monitor::Monitor;
use plan::{Item, Observed, OwnerState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::{Env, Sabotage};

/// How long until an object is looked at again whose owner the server knows and the graph doesn't. Upstream puts it back
/// into its queue likewise (`processAttemptToDeleteWorker`, 1.36).
const UNSEEN: Duration = Duration::from_secs(10);
/// Lists under way at once for one owner that leaves its dependents behind.
const LISTS: usize = 16;

pub struct GarbageCollector {
    monitor: Arc<Monitor>,
    sabotage: Sabotage,
}

impl GarbageCollector {
    pub fn new(client: &kube::Client, env: &Env) -> Self {
        Self {
            monitor: Arc::new(Monitor::new(client.clone(), env.clone())),
            sabotage: env.sabotage,
        }
    }

    /// Whether each owner is there: the graph knows most; one that it doesn't know is asked for, because a watch may
    /// be behind and nothing may be deleted on a guess.
    async fn owners(
        &self,
        owner_refs: &[OwnerReference],
        namespace: &str,
        context: &Context,
    ) -> Result<BTreeMap<String, OwnerState>, SyncError> {
        let mut states = BTreeMap::new();
        for reference in owner_refs {
            let known = self.monitor.read(|graph| graph.state(&reference.uid));
            let state = match known {
                Some(state) => state,
                None => self.ask(reference, namespace, context).await?,
            };
            states.insert(reference.uid.clone(), state);
        }
        Ok(states)
    }

    async fn ask(
        &self,
        reference: &OwnerReference,
        namespace: &str,
        context: &Context,
    ) -> Result<OwnerState, SyncError> {
        let group = reference
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group);
        let Some(found) = self.monitor.resource_of(group, &reference.kind) else {
            return Err(SyncError::Other(format!(
                "unknown owner kind {} {}",
                reference.api_version, reference.kind
            )));
        };
        if found.namespaced && namespace.is_empty() {
            // A cluster-scoped object can't have an owner inside a namespace: nobody can tell, so it stays.
            return Ok(OwnerState::Present);
        }
        let root = if group.is_empty() { "/api" } else { "/apis" };
        let (version, plural) = (found.resource.api_version(), &found.resource.plural);
        let url = if found.namespaced {
            format!("{root}/{version}/namespaces/{namespace}/{plural}")
        } else {
            format!("{root}/{version}/{plural}")
        };
        let request = Request::new(url)
            .get_metadata(&reference.name, &GetParams::default())
            .map_err(|error| SyncError::Other(error.to_string()))?;
        match context.client.request::<PartialObjectMeta>(request).await {
            Ok(owner) if owner.metadata.uid() == reference.uid => Ok(Owner::state_of(&owner.metadata)),
            Ok(_) => Ok(OwnerState::Absent),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(OwnerState::Absent),
            Err(error) => Err(error.into()),
        }
    }
}

impl GarbageCollector {
    /// The dependents of an owner that is to leave them behind, from the server: one that a watch doesn't show yet would
    /// be collected as soon as its owner is gone. Upstream trusts its watches here.
    async fn dependents(&self, owner: &Item, context: &Context) -> Result<Vec<Item>, SyncError> {
        let (uid, namespace) = (owner.meta.uid(), owner.meta.namespace());
        // An owner inside a namespace owns nothing outside of it.
        let resources = self.monitor.collected().into_iter();
        let resources = resources.filter(|found| found.namespaced || namespace.is_empty());
        let listed: Vec<Vec<Item>> = stream::iter(resources)
            .map(|found| async move {
                let all = list_metadata(&context.client, &found, namespace)
                    .await?
                    .into_iter();
                let mine = all.filter(|object| object.metadata.owners().iter().any(|owner| owner.uid == uid));
                let items = mine.map(|object| Item {
                    resource: found.resource.clone(),
                    meta: Arc::new(monitor::relevant(&object.metadata)),
                });
                Ok::<_, SyncError>(items.collect())
            })
            .buffered(LISTS)
            .try_collect()
            .await?;
        Ok(listed.into_iter().flatten().collect())
    }
}

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        self.monitor.start(watches.queue());
    }

    fn sync<'a>(&'a self, key: &'a Key, context: &'a Context) -> BoxFuture<'a, Result<Plan, SyncError>> {
        Box::pin(async move {
            if !self.monitor.is_complete() {
                // Dependents that aren't listed yet would be missed.
                return Err(SyncError::Other("metadata is still being listed".into()));
            }
            if self.sabotage.is("garbage-stays") {
                return Ok(Plan::nothing());
            }
            let Some((item, mut dependents)) = self.monitor.read(|graph| graph.look(&key.name)) else {
                return Ok(Plan::nothing());
            };
            if plan::frees_dependents(&item) {
                dependents = self.dependents(&item, context).await?;
            }
            let owners = self
                .owners(item.meta.owners(), item.meta.namespace(), context)
                .await?;
            let unseen = self.monitor.read(|graph| {
                let mut owners = owners.iter();
                owners.any(|(uid, state)| *state == OwnerState::Present && graph.state(uid).is_none())
            });
            let mut plan = plan::plan(&Observed {
                item,
                dependents,
                owners,
            });
            if unseen {
                // It may come and go before the watch shows it, which then tells nothing of it.
                plan.look_again(UNSEEN);
            }
            Ok(plan)
        })
    }

    fn workers(&self) -> usize {
        // Upstream: 20.
        20
    }
}
