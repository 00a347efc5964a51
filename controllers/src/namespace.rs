//! Namespace: empties a namespace that is being deleted, then lets it go.

mod plan;

pub use plan::{Contents, Item, Observed, plan};

use crate::action::Plan;
use crate::discovery::{Discovered, discover};
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, SyncError, Watches};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::{ObjectList, PartialObjectMeta, Request};
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
    let path = if found.resource.group.is_empty() {
        "/api"
    } else {
        "/apis"
    };
    let version = found.resource.api_version();
    let plural = &found.resource.plural;
    let request = Request::new(format!("{path}/{version}/namespaces/{namespace}/{plural}"));
    let request = request
        .list_metadata(&ListParams::default())
        .map_err(|error| SyncError::Other(error.to_string()))?;
    let items = match context
        .client
        .request::<ObjectList<PartialObjectMeta>>(request)
        .await
    {
        Ok(list) => list.items,
        // The resource went away since discovery, or can't be listed: nothing of it can be left behind.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 405 => Vec::new(),
        Err(error) => return Err(error.into()),
    };
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
            match self.namespaces.get(key) {
                Some(namespace) if namespace.metadata.is_terminating() && plan::is_held(&namespace) => {
                    Ok(plan(&self.observe(namespace, context).await?))
                }
                _ => Ok(Plan::nothing()),
            }
        })
    }
}
