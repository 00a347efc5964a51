//! The node's lease: a small object whose renewal says that the node is alive.

use crate::context::Context;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Api, PostParams};
use std::sync::Arc;
use tokio::time::{MissedTickBehavior, interval, timeout};

const NAMESPACE: &str = "kube-node-lease";
/// Renewals that fit into a lease's duration, as upstream has it (`nodeLeaseRenewIntervalFraction`).
const RENEWALS: u32 = 4;

/// Until dropped.
pub(crate) async fn renew_lease(context: Arc<Context>) {
    let mut ticks = interval(context.config.lease_renewal);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut held: Option<Lease> = None;
    loop {
        ticks.tick().await;
        // A renewal that hangs must not eat the time of the next one, which may reach another server.
        let limit = context.config.lease_renewal;
        match timeout(limit, renew(&context, held.take())).await {
            Ok(Ok(lease)) => held = Some(lease),
            Ok(Err(error)) => tracing::warn!(%error, "the node's lease cannot be renewed"),
            Err(_) => tracing::warn!("renewing the node's lease takes too long"),
        }
    }
}

async fn renew(context: &Context, held: Option<Lease>) -> kube::Result<Lease> {
    let leases: Api<Lease> = Api::namespaced(context.client.clone(), NAMESPACE);
    let name = &context.config.node_name;
    let params = PostParams::default();
    // Without a held one, or when someone else wrote: look at what is there.
    if let Some(mut lease) = held {
        lease.spec = Some(spec(context));
        match leases.replace(name, &params, &lease).await {
            Ok(lease) => return Ok(lease),
            Err(kube::Error::Api(answer)) if answer.is_conflict() || answer.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(mut lease) = leases.get_opt(name).await? {
        lease.spec = Some(spec(context));
        return leases.replace(name, &params, &lease).await;
    }
    let nodes: Api<Node> = Api::all(context.client.clone());
    let owner = nodes.get_opt(name).await?.and_then(|node| node.metadata.uid);
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: owner.map(|uid| {
                vec![OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Node".to_owned(),
                    name: name.clone(),
                    uid,
                    ..OwnerReference::default()
                }]
            }),
            ..ObjectMeta::default()
        },
        spec: Some(spec(context)),
    };
    leases.create(&params, &lease).await
}

fn spec(context: &Context) -> LeaseSpec {
    let seconds = (context.config.lease_renewal * RENEWALS).as_secs().max(1);
    LeaseSpec {
        holder_identity: Some(context.config.node_name.clone()),
        lease_duration_seconds: i32::try_from(seconds).ok(),
        renew_time: Some(MicroTime(context.env.clock.now())),
        ..LeaseSpec::default()
    }
}
