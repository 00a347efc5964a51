//! Every controller by name, made if it's switched on.

use crate::config::Config;
use crate::deployment::DeploymentController;
use crate::replicaset::{ReplicaSetController, ReplicationControllerController};
use crate::runner::{Controller, Informers};
use std::sync::Arc;
use support::Env;

pub(crate) fn controllers(
    config: &Config,
    _env: &Env,
    _client: &kube::Client,
    informers: &Informers,
) -> Vec<Arc<dyn Controller>> {
    let mut chosen = Chosen { config, all: Vec::new() };
    chosen.add("replicaset-controller", || Arc::new(ReplicaSetController::new(informers)));
    chosen.add("replicationcontroller-controller", || {
        Arc::new(ReplicationControllerController::new(informers))
    });
    chosen.add("deployment-controller", || Arc::new(DeploymentController::new(informers)));
    chosen.all
}

struct Chosen<'a> {
    config: &'a Config,
    all: Vec<Arc<dyn Controller>>,
}

impl Chosen<'_> {
    /// Makes a controller that is on by default; one that is off starts no informers either.
    fn add(&mut self, name: &'static str, make: impl FnOnce() -> Arc<dyn Controller>) {
        if self.config.enables(name, true) {
            let controller = make();
            debug_assert_eq!(controller.name(), name, "registered under another name");
            self.all.push(controller);
        }
    }
}
