//! What the server keeps in the store for itself and everybody: namespaces, default roles, its own address.
//!
//! Every replica does all of it, at its start and again in rounds: what is there already is left alone.

mod components;
mod endpoints;
mod ensure;
mod identity;
mod local_services;
mod policy;

use crate::health::Health;
use crate::services::repair;
use crate::state::State;
use apiserver_core::service_ip::first_ip;
use apiserver_core::{ApiError, Resource};
use ensure::{ensure, ensure_all};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::Backoff;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Upstream's intervals: endpoint reconciler and identity lease 10 s, system namespaces 1 min, repair 3 min.
const ROUND: Duration = Duration::from_secs(10);
const OBJECTS_EVERY: Duration = Duration::from_secs(60);
const REPAIR_EVERY: Duration = Duration::from_secs(180);
const RETRY: Duration = Duration::from_millis(300);
const RETRY_MAX: Duration = Duration::from_secs(3);
/// Longer than a call to the store lasts: what is reserved for so long without a Service isn't under way.
const REPAIR_AT_START: Duration = Duration::from_secs(20);

/// Runs until cancelled.
pub(crate) async fn run(state: Arc<State>, health: Arc<Health>, cancel: CancellationToken) {
    let work = async {
        let mut backoff = Backoff::new(RETRY, RETRY_MAX, state.env.random.fork());
        let (mut suspects, mut repair_at) = (BTreeMap::new(), Instant::now());
        while let Err(error) = objects(&state).await {
            tracing::warn!(%error, "start-up objects, trying again");
            // The address of `default/kubernetes` may be reserved by a replica that died before it wrote the Service:
            // nobody would ever be ready.
            if Instant::now() >= repair_at {
                repair_at = Instant::now() + REPAIR_AT_START;
                log(
                    "repair of Service reservations",
                    repair(&state, &mut suspects).await,
                );
            }
            tokio::time::sleep(backoff.delay()).await;
        }
        health.started.store(true, Ordering::Relaxed);
        let (mut objects_at, mut repair_at) = (Instant::now() + OBJECTS_EVERY, Instant::now() + REPAIR_EVERY);
        let mut suspects = BTreeMap::new();
        loop {
            log("endpoints of default/kubernetes", endpoints::renew(&state).await);
            log("identity lease", identity::renew(&state).await);
            log("local APIServices", local_services::mark_available(&state).await);
            if Instant::now() >= objects_at {
                objects_at = Instant::now() + OBJECTS_EVERY;
                log("start-up objects", objects(&state).await);
            }
            if Instant::now() >= repair_at {
                repair_at = Instant::now() + REPAIR_EVERY;
                log(
                    "repair of Service reservations",
                    repair(&state, &mut suspects).await,
                );
            }
            tokio::time::sleep(ROUND).await;
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        () = work => {}
    }
}

/// Takes this replica out of the endpoints, at a clean stop.
pub(crate) async fn leave(state: &State) {
    let left = tokio::time::timeout(Duration::from_secs(3), endpoints::leave(state)).await;
    match left {
        Ok(left) => log("leaving the endpoints", left),
        Err(_) => tracing::warn!("leaving the endpoints: the store doesn't answer"),
    }
}

fn log(what: &str, outcome: Result<(), ApiError>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "{what}");
    }
}

async fn objects(state: &State) -> Result<(), ApiError> {
    let mut all = kubeschema::startup_objects();
    let mut of = |resource: &str| all.remove(resource).unwrap_or_default();
    ensure_all(state, "", "namespaces", of("namespaces")).await?;
    let mut roles = of("clusterroles");
    roles.push(components::controllers_role(&roles));
    policy::reconcile(state, "clusterroles", roles).await?;
    let mut bindings = of("clusterrolebindings");
    bindings.extend(components::bindings());
    policy::reconcile(state, "clusterrolebindings", bindings).await?;
    policy::reconcile(state, "roles", of("roles")).await?;
    policy::reconcile(state, "rolebindings", of("rolebindings")).await?;
    ensure_all(
        state,
        "scheduling.k8s.io",
        "priorityclasses",
        of("priorityclasses"),
    )
    .await?;
    let levels = of("prioritylevelconfigurations");
    ensure_all(
        state,
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
        levels,
    )
    .await?;
    ensure_all(
        state,
        "flowcontrol.apiserver.k8s.io",
        "flowschemas",
        of("flowschemas"),
    )
    .await?;
    ensure_all(state, "apiregistration.k8s.io", "apiservices", of("apiservices")).await?;
    let mut cidr = json!({"metadata": {"name": "kubernetes"}});
    cidr["spec"] = json!({"cidrs": [state.config.service_cidr.trunc().to_string()]});
    ensure(state, "networking.k8s.io", "servicecidrs", cidr).await?;
    ensure(state, "", "services", kubernetes_service(state)).await?;
    ensure(state, "", "configmaps", authentication_config(state)).await
}

/// `default/kubernetes`, under which pods reach the API servers.
fn kubernetes_service(state: &State) -> Value {
    let ip = first_ip(&ipnet::IpNet::V4(state.config.service_cidr)).to_string();
    let port = state.config.advertise_port.unwrap_or(6443);
    json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        },
    })
}

/// From which extension API servers learn whom we trust.
fn authentication_config(state: &State) -> Value {
    json!({
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {"client-ca-file": state.config.client_ca_pem},
    })
}

/// A built-in resource.
fn built_in(state: &State, group: &str, resource: &str) -> Result<Arc<Resource>, ApiError> {
    let registry = state.registry();
    let found = registry.lookup(group, "v1", resource).map(Arc::clone);
    found.ok_or_else(|| ApiError::internal(format!("{resource} isn't a built-in resource")))
}
