//! Pod networks: our own range for the runtime, routes to every other node's.

use crate::context::Context;
use k8s_openapi::api::core::v1::Node;
use kubeclient::Informer;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

const RETRY: Duration = Duration::from_secs(2);

/// Until dropped.
pub(crate) async fn follow_nodes(context: Arc<Context>, nodes: Informer<Node>) {
    let mut changes = nodes.subscribe();
    nodes.synced().await;
    let mut own: Option<String> = None;
    let mut routes: Option<BTreeMap<String, String>> = None;
    loop {
        let (mine, wanted) = wanted(&context, &nodes);
        let mut failed = false;
        if mine.is_some() && mine != own {
            let cidr = mine.clone().unwrap_or_default();
            match context.host.configure_pod_network(&cidr).await {
                Ok(()) => {
                    tracing::info!(%cidr, "pods of this node get addresses");
                    own = mine;
                }
                Err(error) => {
                    tracing::warn!(%error, %cidr, "the pod network cannot be set up");
                    failed = true;
                }
            }
        }
        if routes.as_ref() != Some(&wanted) {
            match context.host.set_routes(&wanted).await {
                Ok(()) => routes = Some(wanted),
                Err(error) => {
                    tracing::warn!(%error, "routes to other nodes' pods cannot be set");
                    failed = true;
                }
            }
        }
        if failed {
            sleep(RETRY).await;
            continue;
        }
        changes.recv().await;
        // One look for all changes that are there.
        while changes.try_recv().is_some() {}
    }
}

/// Our pod range, and the others' with their nodes' addresses.
fn wanted(context: &Context, nodes: &Informer<Node>) -> (Option<String>, BTreeMap<String, String>) {
    let mut mine = None;
    let mut routes = BTreeMap::new();
    for node in nodes.store().list() {
        let Some(cidr) = node.spec.as_ref().and_then(|s| s.pod_cidr.clone()) else {
            continue;
        };
        if node.metadata.name.as_deref() == Some(&context.config.node_name) {
            mine = Some(cidr);
            continue;
        }
        let addresses = node.status.iter().flat_map(|s| s.addresses.iter().flatten());
        let internal = addresses.filter(|a| a.type_ == "InternalIP");
        if let Some(address) = internal.map(|a| a.address.clone()).next() {
            routes.insert(cidr, address);
        }
    }
    (mine, routes)
}
