//! EndpointSlice: the slices of a Service with a selector.
//! Source: `pkg/controller/endpointslice`, `staging/src/k8s.io/endpointslice` (1.36).

use super::pods::{addresses, hostname, is_headless, is_ipv6, is_offered, ports, reference};
use super::slices::{Frame, Group, reconcile};
use super::watch_pods;
use crate::action::Plan;
use crate::object::{Key, MetaView, controller_reference};
use crate::pod_state;
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::selector;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
pub const HEADLESS: &str = "service.kubernetes.io/headless";
const ZONE: &str = "topology.kubernetes.io/zone";

pub struct Observed {
    pub service: Arc<Service>,
    /// All pods of the namespace.
    pub pods: Vec<Arc<Pod>>,
    /// All slices of the namespace.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// Zones of the nodes that have one.
    pub zones: BTreeMap<String, String>,
}

pub fn plan(observed: &Observed) -> Plan {
    let service = observed.service.as_ref();
    let Some(spec) = &service.spec else {
        return Plan::nothing();
    };
    let external = spec.type_.as_deref() == Some("ExternalName");
    let Some(wanted) = spec
        .selector
        .as_ref()
        .filter(|wanted| !wanted.is_empty() && !external)
    else {
        // Without a selector the slices are somebody else's.
        return Plan::nothing();
    };
    if service.metadata.is_terminating() {
        return Plan::nothing();
    }
    let mut groups: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    let families = families(service);
    for pod in &observed.pods {
        if !is_offered(pod, true) || !selector::includes(pod.metadata.labels.as_ref(), wanted) {
            continue;
        }
        let ports = ports(service, pod);
        if ports.is_empty() && spec.ports.as_ref().is_some_and(|ports| !ports.is_empty()) {
            continue;
        }
        for address_type in &families {
            if let Some(endpoint) = endpoint(observed, pod, address_type) {
                let group = Group {
                    address_type,
                    ports: ports.clone(),
                };
                groups.entry(group).or_default().push(endpoint);
            }
        }
    }
    for address_type in families {
        if !groups.keys().any(|group| group.address_type == address_type) {
            // A slice that says "none" tells a Service without endpoints from one not looked at yet.
            let ports = Vec::new();
            groups.insert(Group { address_type, ports }, Vec::new());
        }
    }
    let mine: Vec<Arc<EndpointSlice>> = observed
        .slices
        .iter()
        .filter(|slice| {
            slice.metadata.label(SERVICE_NAME) == Some(service.metadata.name())
                && slice.metadata.label(MANAGED_BY) == Some(MANAGER)
                && !slice.metadata.is_terminating()
        })
        .cloned()
        .collect();
    reconcile(&frame(service), groups, &mine).into()
}

fn frame(service: &Service) -> Frame {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(SERVICE_NAME.into(), service.metadata.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    Frame {
        namespace: service.metadata.namespace().to_owned(),
        prefix: format!("{}-", service.metadata.name()),
        labels,
        annotations: BTreeMap::new(),
        reference: controller_reference::<Service>(&service.metadata),
    }
}

fn families(service: &Service) -> Vec<&'static str> {
    let spec = service.spec.as_ref();
    let named: Vec<&'static str> = spec
        .and_then(|spec| spec.ip_families.as_ref())
        .into_iter()
        .flatten()
        .map(|family| if family == "IPv6" { "IPv6" } else { "IPv4" })
        .collect();
    if !named.is_empty() {
        return named;
    }
    let address = spec
        .and_then(|spec| spec.cluster_ip.as_deref())
        .unwrap_or_default();
    vec![if is_ipv6(address) { "IPv6" } else { "IPv4" }]
}

fn endpoint(observed: &Observed, pod: &Pod, address_type: &str) -> Option<Endpoint> {
    let service = observed.service.as_ref();
    let address = addresses(pod)
        .into_iter()
        .find(|address| is_ipv6(address) == (address_type == "IPv6"))?;
    let publish = service
        .spec
        .as_ref()
        .and_then(|spec| spec.publish_not_ready_addresses)
        .unwrap_or(false);
    let (serving, terminating) = (pod_state::is_ready(pod), pod.metadata.is_terminating());
    let node = Some(pod_state::node(pod)).filter(|node| !node.is_empty());
    Some(Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publish || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        node_name: node.map(str::to_owned),
        zone: node.and_then(|node| observed.zones.get(node)).cloned(),
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    })
}

pub struct EndpointSliceController {
    services: Cache<Service>,
    pods: Cache<Pod>,
    slices: Cache<EndpointSlice>,
    nodes: Cache<Node>,
}

impl EndpointSliceController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            services: informers.of(),
            pods: informers.of(),
            slices: informers.of(),
            nodes: informers.of(),
        }
    }
}

impl Controller for EndpointSliceController {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.services);
        watch_pods(watches, &self.pods, &self.services);
        watches.on(&self.slices, |change| {
            let slice = change.new.as_ref().or(change.old.as_ref());
            slice
                .filter(|slice| slice.metadata.label(MANAGED_BY) == Some(MANAGER))
                .and_then(|slice| {
                    Some(Key::new(
                        slice.metadata.namespace(),
                        slice.metadata.label(SERVICE_NAME)?,
                    ))
                })
                .into_iter()
                .collect()
        });
    }

    fn plan(&self, key: &Key, _context: &Context) -> Plan {
        let Some(service) = self.services.get(key) else {
            return Plan::nothing();
        };
        let zones = self.nodes.list().into_iter().filter_map(|node| {
            let zone = node.metadata.label(ZONE)?.to_owned();
            Some((node.metadata.name().to_owned(), zone))
        });
        plan(&Observed {
            service,
            pods: self.pods.list_namespace(&key.namespace),
            slices: self.slices.list_namespace(&key.namespace),
            zones: zones.collect(),
        })
    }
}
