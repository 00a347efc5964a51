//! Node life cycle: notices silent nodes, says so in their conditions and taints.

mod plan;
mod taints;
#[cfg(test)]
mod tests;
mod zones;

pub use plan::{Observed, plan};

use crate::action::Plan;
use crate::config::NodeConfig;
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const LEASE_NAMESPACE: &str = "kube-node-lease";

pub struct NodeLifecycleController {
    nodes: Cache<Node>,
    leases: Cache<Lease>,
    pods: Cache<Pod>,
    config: NodeConfig,
    started: Instant,
    /// When a sign of life of each node was last seen, by this process's own clock: a jump of wall time must not make
    /// a cluster look dead. Kept by standbys too, so that a new leader knows since when a node is silent.
    heard: Arc<Mutex<BTreeMap<String, Duration>>>,
    /// When each zone last had a node tainted for eviction.
    evicted: Mutex<BTreeMap<String, Duration>>,
}

impl NodeLifecycleController {
    pub fn new(informers: &Informers, config: NodeConfig) -> Self {
        Self {
            nodes: informers.of(),
            leases: informers.of(),
            pods: informers.of(),
            config,
            started: Instant::now(),
            heard: Arc::default(),
            evicted: Mutex::default(),
        }
    }
}

impl Controller for NodeLifecycleController {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.once(Key::cluster("all"));
        let (heard, started) = (Arc::clone(&self.heard), self.started);
        watches.on(&self.leases, move |change| {
            let lease = change
                .new
                .as_ref()
                .filter(|lease| lease.metadata.namespace() == LEASE_NAMESPACE);
            if let Some(lease) = lease {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.insert(lease.metadata.name().to_owned(), started.elapsed());
            }
            Vec::new()
        });
        let heard = Arc::clone(&self.heard);
        watches.on(&self.nodes, move |change| {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            match (&change.old, &change.new) {
                (Some(old), None) => {
                    heard.remove(old.metadata.name());
                }
                (old, Some(new)) => {
                    let beat = plan::heartbeat(new);
                    // Our own writes change conditions to Unknown without a heartbeat.
                    let alive = old.as_ref().is_none_or(|old| plan::heartbeat(old) != beat);
                    if alive {
                        heard.insert(new.metadata.name().to_owned(), started.elapsed());
                    }
                }
                (None, None) => {}
            }
            vec![Key::cluster("all")]
        });
    }

    fn plan(&self, _key: &Key, context: &Context) -> Plan {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut evicted = self.evicted.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.started.elapsed();
        let decision = plan(&Observed {
            nodes: self.nodes.list(),
            pods: self.pods.list(),
            heard,
            evicted: evicted.clone(),
            config: self.config,
            at,
            now: context.now,
        });
        for zone in decision.evicting {
            evicted.insert(zone, at);
        }
        decision.plan
    }
}
