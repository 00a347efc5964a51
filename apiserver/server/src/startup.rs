//! What the server keeps in the store for itself and everybody: namespaces, default roles, its own address.

use crate::health::Health;
use crate::state::State;
use crate::verbs::{Ownership, Writer, create_object};
use apiserver_core::{ApiError, Reason, Resource};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub(crate) async fn run(state: Arc<State>, health: Arc<Health>, cancel: CancellationToken) {
    loop {
        match namespaces(&state).await {
            Ok(()) => health.started.store(true, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "start-up objects"),
        }
        let pause = if health.started.load(Ordering::Relaxed) { Duration::from_secs(60) } else { Duration::from_millis(500) };
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

pub(crate) async fn leave(_state: &State) {}

async fn namespaces(state: &State) -> Result<(), ApiError> {
    for object in kubeschema::startup_objects_of("namespaces", "v1", "Namespace") {
        ensure(state, "", "v1", "namespaces", "", object).await?;
    }
    Ok(())
}

async fn ensure(
    state: &State,
    group: &str,
    version: &str,
    resource: &str,
    namespace: &str,
    object: Value,
) -> Result<(), ApiError> {
    let registry = state.registry();
    let Some(resource) = registry.lookup(group, version, resource) else { return Ok(()) };
    let mut writer = Writer::loopback(state.now());
    match create_object(state, resource, &mut writer, namespace, object, Ownership::Update).await {
        Err(error) if error.reason != Reason::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
