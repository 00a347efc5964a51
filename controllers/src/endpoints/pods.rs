//! What a pod offers to a Service.
//! Source: `staging/src/k8s.io/endpointslice/{utils.go,util/controller_utils.go}`, `pkg/api/v1/pod.FindPort` (1.36).

use crate::object::MetaView;
use crate::pod_state;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A port as both kinds of objects write it. The order of fields is the order of sorting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    pub name: String,
    pub port: i32,
    pub protocol: String,
    pub app_protocol: Option<String>,
}

/// Whether a pod is offered at all: it has an address and hasn't ended.
pub fn is_offered(pod: &Pod, include_terminating: bool) -> bool {
    !pod_state::is_finished(pod)
        && !addresses(pod).is_empty()
        && (include_terminating || !pod.metadata.is_terminating())
}

/// All addresses, the first first.
pub fn addresses(pod: &Pod) -> Vec<&str> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let listed: Vec<&str> = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
    if listed.is_empty() {
        status
            .pod_ip
            .as_deref()
            .filter(|ip| !ip.is_empty())
            .into_iter()
            .collect()
    } else {
        listed
    }
}

pub fn is_ipv6(address: &str) -> bool {
    address.contains(':')
}

/// The Service's ports on this pod; a named target port that the pod doesn't have is left out.
pub fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let wanted = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let mut found: Vec<Port> = wanted
        .into_iter()
        .flatten()
        .filter_map(|wanted| {
            Some(Port {
                name: wanted.name.clone().unwrap_or_default(),
                port: target(wanted, pod)?,
                protocol: protocol(wanted.protocol.as_ref()).to_owned(),
                app_protocol: wanted.app_protocol.clone(),
            })
        })
        .collect();
    found.sort();
    found
}

fn protocol(protocol: Option<&String>) -> &str {
    protocol.map_or("TCP", String::as_str)
}

fn target(wanted: &ServicePort, pod: &Pod) -> Option<i32> {
    match &wanted.target_port {
        Some(IntOrString::Int(0)) | None => Some(wanted.port),
        Some(IntOrString::Int(port)) => Some(*port),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let sidecars = spec
                .init_containers
                .iter()
                .flatten()
                .filter(|container| container.restart_policy.as_deref() == Some("Always"));
            sidecars
                .chain(&spec.containers)
                .flat_map(|container| container.ports.iter().flatten())
                .find(|port| {
                    port.name.as_ref() == Some(name)
                        && protocol(port.protocol.as_ref()) == protocol(wanted.protocol.as_ref())
                })
                .map(|port| port.container_port)
        }
    }
}

pub fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The name under which DNS knows the pod within the Service.
pub fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let host = spec.hostname.clone().filter(|name| !name.is_empty())?;
    (spec.subdomain.as_deref() == Some(service.metadata.name())).then_some(host)
}

pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// Whether anything that endpoints show differs between two states of a pod.
pub fn matters(old: &Pod, new: &Pod) -> bool {
    addresses(old) != addresses(new)
        || pod_state::is_ready(old) != pod_state::is_ready(new)
        || pod_state::is_finished(old) != pod_state::is_finished(new)
        || old.metadata.is_terminating() != new.metadata.is_terminating()
        || old.metadata.labels != new.metadata.labels
        || old.metadata.uid != new.metadata.uid
        || pod_state::node(old) != pod_state::node(new)
}
