//! Every controller by name, made if it's switched on.

use crate::clusterrole_aggregation::ClusterRoleAggregation;
use crate::config::Config;
use crate::csr::{CsrApprovingController, CsrCleanerController, CsrSigningController};
use crate::daemonset::DaemonSetController;
use crate::deployment::DeploymentController;
use crate::disruption::DisruptionController;
use crate::endpoints::{EndpointSliceController, EndpointSliceMirroringController, EndpointsController};
use crate::garbage_collector::GarbageCollector;
use crate::job::{JobController, TtlAfterFinishedController};
use crate::namespace::NamespaceController;
use crate::node_ipam::{ClusterRange, NodeIpamController};
use crate::node_lifecycle::NodeLifecycleController;
use crate::pod_gc::PodGcController;
use crate::replicaset::{ReplicaSetController, ReplicationControllerController};
use crate::root_ca::RootCaPublisher;
use crate::runner::{Controller, Informers};
use crate::serviceaccount::ServiceAccountController;
use crate::statefulset::StatefulSetController;
use crate::taint_eviction::TaintEvictionController;
use crate::token_cleaner::TokenCleaner;
use std::sync::Arc;
use support::Env;

pub(crate) fn controllers(
    config: &Config,
    env: &Env,
    client: &kube::Client,
    informers: &Informers,
) -> Vec<Arc<dyn Controller>> {
    let mut chosen = Chosen {
        config,
        all: Vec::new(),
    };
    chosen.add("replicaset-controller", || {
        Arc::new(ReplicaSetController::new(informers))
    });
    chosen.add("replicationcontroller-controller", || {
        Arc::new(ReplicationControllerController::new(informers))
    });
    chosen.add("deployment-controller", || {
        Arc::new(DeploymentController::new(informers, env.sabotage))
    });
    chosen.add("namespace-controller", || {
        Arc::new(NamespaceController::new(informers))
    });
    chosen.add("serviceaccount-controller", || {
        Arc::new(ServiceAccountController::new(informers))
    });
    if let Some(root_ca_pem) = &config.root_ca_pem {
        chosen.add("root-ca-certificate-publisher-controller", || {
            Arc::new(RootCaPublisher::new(informers, root_ca_pem))
        });
    }
    chosen.add("garbage-collector-controller", || {
        Arc::new(GarbageCollector::new(client, env))
    });
    chosen.add("pod-garbage-collector-controller", || {
        Arc::new(PodGcController::new(
            informers,
            config.terminated_pod_gc_threshold,
        ))
    });
    chosen.add("endpoints-controller", || {
        Arc::new(EndpointsController::new(informers))
    });
    chosen.add("endpointslice-controller", || {
        Arc::new(EndpointSliceController::new(informers))
    });
    chosen.add("endpointslice-mirroring-controller", || {
        Arc::new(EndpointSliceMirroringController::new(informers))
    });
    if let Some(cidr) = &config.cluster_cidr {
        match ClusterRange::parse(cidr, config.node_cidr_mask_size) {
            Ok(range) => {
                chosen.add("node-ipam-controller", || {
                    Arc::new(NodeIpamController::new(informers, range))
                });
            }
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "no ranges for nodes"),
        }
    }
    chosen.add("node-lifecycle-controller", || {
        Arc::new(NodeLifecycleController::new(informers, config.node))
    });
    chosen.add("taint-eviction-controller", || {
        Arc::new(TaintEvictionController::new(informers))
    });
    chosen.add("job-controller", || Arc::new(JobController::new(informers)));
    chosen.add("ttl-after-finished-controller", || {
        Arc::new(TtlAfterFinishedController::new(informers))
    });
    chosen.add("daemonset-controller", || {
        Arc::new(DaemonSetController::new(informers))
    });
    chosen.add("statefulset-controller", || {
        Arc::new(StatefulSetController::new(informers))
    });
    chosen.add("certificatesigningrequest-approving-controller", || {
        Arc::new(CsrApprovingController::new(informers))
    });
    if let Some(signing) = &config.signing {
        match CsrSigningController::new(informers, signing) {
            Ok(signer) => chosen.add("certificatesigningrequest-signing-controller", || {
                Arc::new(signer)
            }),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "requests won't be signed"
            ),
        }
    }
    chosen.add("certificatesigningrequest-cleaner-controller", || {
        Arc::new(CsrCleanerController::new(informers))
    });
    chosen.add("token-cleaner-controller", || {
        Arc::new(TokenCleaner::new(informers))
    });
    chosen.add("clusterrole-aggregation-controller", || {
        Arc::new(ClusterRoleAggregation::new(informers))
    });
    chosen.add("disruption-controller", || {
        Arc::new(DisruptionController::new(informers))
    });
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
