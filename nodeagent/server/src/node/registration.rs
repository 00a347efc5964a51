//! Makes the node object, or brings the one that is there up to date.

use super::status;
use crate::context::Context;
use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use support::Backoff;
use tokio::time::sleep;

const RETRY_INITIAL: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(7);

/// Until the API server has the node.
pub(crate) async fn register(context: &Context) {
    let mut backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX, context.env.random.fork());
    while let Err(error) = try_register(context).await {
        tracing::warn!(%error, "the node cannot be registered yet");
        sleep(backoff.delay()).await;
    }
}

async fn try_register(context: &Context) -> kube::Result<()> {
    let nodes: Api<Node> = Api::all(context.client.clone());
    let name = &context.config.node_name;
    if nodes.get_opt(name).await?.is_some() {
        let patch = json!({"metadata": {"labels": labels(context)}});
        nodes
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        return Ok(());
    }
    let node = Node {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels(context)),
            annotations: Some(BTreeMap::from([(
                "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
                "true".to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            // Nothing is scheduled here before the first status says that it can run; upstream's nodes get
            // this from admission (`TaintNodesByCondition`), and asking twice changes nothing.
            taints: Some(taints(context)),
            ..NodeSpec::default()
        }),
        status: Some(status::compute(context, None).await),
    };
    match nodes.create(&PostParams::default(), &node).await {
        Ok(_) => {
            tracing::info!(node = %name, "node registered");
            Ok(())
        }
        Err(kube::Error::Api(answer)) if answer.is_already_exists() => Ok(()),
        Err(error) => Err(error),
    }
}

fn labels(context: &Context) -> BTreeMap<String, String> {
    let facts = &context.host_facts;
    let mut labels = context.config.labels.clone();
    let own = [
        ("kubernetes.io/hostname", context.config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", facts.architecture.as_str()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", facts.architecture.as_str()),
    ];
    labels.extend(own.map(|(k, v)| (k.to_owned(), v.to_owned())));
    labels
}

fn taints(context: &Context) -> Vec<Taint> {
    let mut taints = context.config.taints.clone();
    let key = "node.kubernetes.io/not-ready";
    if !taints.iter().any(|t| t.key == key) {
        taints.push(Taint {
            key: key.to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        });
    }
    taints
}
