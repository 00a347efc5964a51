//! Namespace: empties a namespace that is being deleted, then lets it go.

mod plan;

pub use plan::{Contents, Item, Observed, plan};

use crate::action::Plan;
use crate::discovery::{Discovered, discover, list_metadata};
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, SyncError, Watches};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use std::sync::Arc;

/// Lists under way at once for one namespace.
const LISTS: usize = 16;

pub struct NamespaceController {
    namespaces: Cache<Namespace>,
}

impl NamespaceController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            namespaces: informers.of(),
        }
    }

    async fn observe(&self, namespace: Arc<Namespace>, context: &Context) -> Result<Observed, SyncError> {
        let resources = discover(&context.client).await?;
        let name = namespace.metadata.name().to_owned();
        let wanted = resources
            .all
            .into_iter()
            .filter(|found| found.namespaced && found.can("list") && found.can("delete"));
        let contents: Vec<Contents> = stream::iter(wanted)
            .map(|found| contents(context, &name, found))
            .buffered(LISTS)
            .try_collect()
            .await?;
        Ok(Observed {
            namespace,
            contents: contents
                .into_iter()
                .filter(|contents| !contents.items.is_empty())
                .collect(),
            undiscovered: resources.failed,
            failed: context.failure.clone(),
            now: context.now,
        })
    }
}

async fn contents(context: &Context, namespace: &str, found: Discovered) -> Result<Contents, SyncError> {
    let items = list_metadata(&context.client, &found, namespace).await?;
    let items = items.into_iter().map(|item| Item {
        name: item.metadata.name().to_owned(),
        uid: item.metadata.uid().to_owned(),
        terminating: item.metadata.is_terminating(),
        finalizers: item.metadata.finalizers.unwrap_or_default(),
    });
    Ok(Contents {
        items: items.collect(),
        by_collection: found.can("deletecollection"),
        resource: found.resource,
    })
}

impl Controller for NamespaceController {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.namespaces);
    }

    fn sync<'a>(&'a self, key: &'a Key, context: &'a Context) -> BoxFuture<'a, Result<Plan, SyncError>> {
        Box::pin(async move {
            let dying =
                |namespace: &Namespace| namespace.metadata.is_terminating() && plan::is_held(namespace);
            if !self
                .namespaces
                .get(key)
                .is_some_and(|namespace| dying(&namespace))
            {
                return Ok(Plan::nothing());
            }
            // Contents are named by the namespace's name alone: the one that is seen may be gone, and another have taken
            // its name. Source: `Delete` of `namespaced_resources_deleter.go` (1.36).
            let api = Api::<Namespace>::all(context.client.clone());
            match api.get_opt(&key.name).await? {
                Some(namespace) if dying(&namespace) => {
                    Ok(plan(&self.observe(Arc::new(namespace), context).await?))
                }
                _ => Ok(Plan::nothing()),
            }
        })
    }
}
