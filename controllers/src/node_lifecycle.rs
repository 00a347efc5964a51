//! Node life cycle: notices silent nodes, says so in their conditions and taints.

mod plan;
mod signs_of_life;
mod taints;
#[cfg(test)]
mod tests;
mod zones;

pub use plan::{Eviction, Observed, plan};

use crate::action::Plan;
use crate::config::NodeConfig;
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use signs_of_life::{Sign, SignsOfLife};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const LEASE_NAMESPACE: &str = "kube-node-lease";

pub struct NodeLifecycleController {
    nodes: Cache<Node>,
    leases: Cache<Lease>,
    pods: Cache<Pod>,
    config: NodeConfig,
    started: Instant,
    /// Kept by standbys, too: a new leader knows since when a node is silent, if it wasn't cut off itself.
    signs: Arc<Mutex<SignsOfLife>>,
    memory: Mutex<Memory>,
}

/// What a look leaves for the next one.
#[derive(Default)]
struct Memory {
    /// The last eviction of each zone.
    evicted: BTreeMap<String, Eviction>,
    was_dark: bool,
}

impl NodeLifecycleController {
    pub fn new(informers: &Informers, config: NodeConfig) -> Self {
        let grace = Duration::try_from(config.monitor_grace_period).unwrap_or_default();
        // Two renewals of four that fit into the grace period.
        let gap = grace / 2;
        Self {
            nodes: informers.of(),
            leases: informers.of(),
            pods: informers.of(),
            config,
            started: Instant::now(),
            signs: Arc::new(Mutex::new(SignsOfLife::new(gap))),
            memory: Mutex::default(),
        }
    }
}

impl Controller for NodeLifecycleController {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.once(Key::cluster("all"));
        let (signs, started) = (Arc::clone(&self.signs), self.started);
        watches.on(&self.leases, move |change| {
            let lease = change
                .new
                .as_ref()
                .filter(|lease| lease.metadata.namespace() == LEASE_NAMESPACE);
            if let Some(lease) = lease {
                let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
                let sign = Sign::Lease(renewed.map(|time| time.0));
                lock(&signs).hear(lease.metadata.name(), sign, started.elapsed());
            }
            Vec::new()
        });
        let signs = Arc::clone(&self.signs);
        watches.on(&self.nodes, move |change| {
            match (&change.old, &change.new) {
                (Some(old), None) => lock(&signs).forget(old.metadata.name()),
                // Our own writes change conditions to Unknown without a heartbeat.
                (_, Some(new)) => {
                    let sign = Sign::Status(plan::heartbeat(new));
                    lock(&signs).hear(new.metadata.name(), sign, started.elapsed());
                }
                (None, None) => {}
            }
            vec![Key::cluster("all")]
        });
    }

    fn plan(&self, _key: &Key, context: &Context) -> Plan {
        let mut memory = lock(&self.memory);
        let at = self.started.elapsed();
        let decision = plan(&Observed {
            nodes: self.nodes.list(),
            pods: self.pods.list(),
            heard: lock(&self.signs).look(at),
            evicted: memory.evicted.clone(),
            was_dark: memory.was_dark,
            config: self.config,
            at,
            now: context.now,
        });
        if memory.was_dark && !decision.dark {
            lock(&self.signs).hear_all(at);
        }
        memory.was_dark = decision.dark;
        memory.evicted.extend(decision.evicting);
        decision.plan
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
