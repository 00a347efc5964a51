//! Fetches what environment variables and volumes are made from.

use crate::context::Context;
use crate::host::PodNetwork;
use crate::runtime;
use nodeagent_core::{
    EnvironmentSources, PodModel, PodObservation, References, references, service_environment,
};
use std::collections::BTreeSet;

/// Which references to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Environment,
    Volumes,
}

pub(super) async fn sources(
    context: &Context,
    model: &PodModel,
    pod_ips: &[String],
    purpose: Purpose,
) -> kube::Result<EnvironmentSources> {
    let References {
        environment_config_maps,
        environment_secrets,
        volume_config_maps,
        volume_secrets,
        ..
    } = references(model);
    let (config_maps, secrets): (BTreeSet<String>, BTreeSet<String>) = match purpose {
        Purpose::Environment => (environment_config_maps, environment_secrets),
        Purpose::Volumes => (volume_config_maps, volume_secrets),
    };
    let mut sources = EnvironmentSources {
        pod_ips: pod_ips.to_vec(),
        host_ips: context.host_ips(),
        allocatable: context.allocatable(),
        ..EnvironmentSources::default()
    };
    for name in config_maps {
        if let Some(map) = context.objects.config_map(&model.namespace, &name).await? {
            sources.config_maps.insert(name, map.as_ref().clone());
        }
    }
    for name in secrets {
        if let Some(secret) = context.objects.secret(&model.namespace, &name).await? {
            sources.secrets.insert(name, secret.as_ref().clone());
        }
    }
    if purpose == Purpose::Environment {
        let links = model.pod.spec.as_ref().and_then(|s| s.enable_service_links) != Some(false);
        let services = context.services.list();
        let services = services.iter().map(AsRef::as_ref);
        sources.services = service_environment(services, &model.namespace, links);
    }
    Ok(sources)
}

/// Addresses of the pod as its own containers know them.
pub(super) fn pod_ips(context: &Context, model: &PodModel, observed: &PodObservation) -> Vec<String> {
    if model.host_network() {
        return context.host_ips();
    }
    let sandbox = observed.latest_sandbox();
    sandbox.map(|s| s.ips.clone()).unwrap_or_default()
}

/// Where the pod's loopback is.
pub(crate) async fn pod_network(
    context: &Context,
    model: &PodModel,
    observed: &PodObservation,
) -> runtime::Result<PodNetwork> {
    if model.host_network() {
        return Ok(PodNetwork::Node);
    }
    let sandbox = observed
        .ready_sandbox()
        .ok_or_else(|| runtime::RuntimeError::NotFound("the pod has no sandbox".to_owned()))?;
    Ok(PodNetwork::OfProcess(
        context.runtime.sandbox_pid(&sandbox.id).await?,
    ))
}
