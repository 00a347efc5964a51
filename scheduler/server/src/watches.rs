//! Everything that the scheduler watches.

use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, Client};
use kubeclient::Informer;
use support::Env;

/// Copies that stay warm on standbys too.
#[derive(Clone)]
pub(crate) struct Watches {
    pub(crate) pods: Informer<Pod>,
    pub(crate) nodes: Informer<Node>,
    pub(crate) namespaces: Informer<Namespace>,
    pub(crate) claims: Informer<PersistentVolumeClaim>,
    pub(crate) volumes: Informer<PersistentVolume>,
    pub(crate) classes: Informer<StorageClass>,
    pub(crate) budgets: Informer<PodDisruptionBudget>,
    pub(crate) services: Informer<Service>,
    pub(crate) replica_sets: Informer<ReplicaSet>,
    pub(crate) replication_controllers: Informer<ReplicationController>,
    pub(crate) stateful_sets: Informer<StatefulSet>,
}

impl Watches {
    pub(crate) fn start(client: &Client, env: &Env) -> Self {
        Self {
            pods: Informer::all(Api::all(client.clone()), env),
            nodes: Informer::all(Api::all(client.clone()), env),
            namespaces: Informer::all(Api::all(client.clone()), env),
            claims: Informer::all(Api::all(client.clone()), env),
            volumes: Informer::all(Api::all(client.clone()), env),
            classes: Informer::all(Api::all(client.clone()), env),
            budgets: Informer::all(Api::all(client.clone()), env),
            services: Informer::all(Api::all(client.clone()), env),
            replica_sets: Informer::all(Api::all(client.clone()), env),
            replication_controllers: Informer::all(Api::all(client.clone()), env),
            stateful_sets: Informer::all(Api::all(client.clone()), env),
        }
    }

    pub(crate) async fn synced(&self) {
        tokio::join!(
            self.pods.synced(),
            self.nodes.synced(),
            self.namespaces.synced(),
            self.claims.synced(),
            self.volumes.synced(),
            self.classes.synced(),
            self.budgets.synced(),
            self.services.synced(),
            self.replica_sets.synced(),
            self.replication_controllers.synced(),
            self.stateful_sets.synced(),
        );
    }

    /// Waits until everything is shown that was written before this call.
    pub(crate) async fn refreshed(&self) {
        tokio::join!(
            self.pods.refreshed(),
            self.nodes.refreshed(),
            self.namespaces.refreshed(),
            self.claims.refreshed(),
            self.volumes.refreshed(),
            self.classes.refreshed(),
            self.budgets.refreshed(),
            self.services.refreshed(),
            self.replica_sets.refreshed(),
            self.replication_controllers.refreshed(),
            self.stateful_sets.refreshed(),
        );
    }
}
