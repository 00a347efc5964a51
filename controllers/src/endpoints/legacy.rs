//! Endpoints: the same in one object a Service, as older clients read it.
//! Source: `pkg/controller/endpoint/endpoints_controller.go`, `pkg/api/v1/endpoints/util.go` (1.36).

use super::pods::{Port, addresses, hostname, is_headless, is_ipv6, is_offered, ports, reference};
use super::service_slices::HEADLESS;
use super::watch_pods;
use crate::action::{Action, Plan};
use crate::object::{Key, MetaView};
use crate::pod_state;
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::selector;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Addresses in one object; the rest is only in slices.
const CAPACITY: usize = 1000;

pub struct Observed {
    pub service: Option<Arc<Service>>,
    /// All pods of the namespace.
    pub pods: Vec<Arc<Pod>>,
    pub endpoints: Option<Arc<Endpoints>>,
}

pub fn plan(observed: &Observed) -> Plan {
    let current = observed.endpoints.as_deref();
    let Some(service) = observed.service.as_deref() else {
        // Only what this controller made goes with the Service.
        let ours = current.filter(|endpoints| endpoints.metadata.label(MANAGED_BY) == Some(MANAGER));
        return ours
            .map(|endpoints| vec![Action::delete(endpoints)])
            .unwrap_or_default()
            .into();
    };
    let Some(spec) = &service.spec else {
        return Plan::nothing();
    };
    let external = spec.type_.as_deref() == Some("ExternalName");
    let Some(wanted) = spec
        .selector
        .as_ref()
        .filter(|wanted| !wanted.is_empty() && !external)
    else {
        return Plan::nothing();
    };
    let publish = spec.publish_not_ready_addresses.unwrap_or(false);
    let mut subsets: BTreeMap<Vec<Port>, Subset> = BTreeMap::new();
    let mut room = CAPACITY;
    let mut over = false;
    for pod in &observed.pods {
        if !is_offered(pod, publish) || !selector::includes(pod.metadata.labels.as_ref(), wanted) {
            continue;
        }
        let ports = ports(service, pod);
        if ports.is_empty() && spec.ports.as_ref().is_some_and(|ports| !ports.is_empty()) {
            continue;
        }
        let Some(address) = address(service, pod) else {
            continue;
        };
        if room == 0 {
            over = true;
            break;
        }
        room -= 1;
        let subset = subsets.entry(ports).or_default();
        if publish || pod_state::is_ready(pod) {
            subset.ready.push(address);
        } else {
            subset.not_ready.push(address);
        }
    }
    let wanted = assemble(service, subsets, over, current);
    match current {
        None => vec![Action::create(&wanted)].into(),
        Some(current) if is_same(current, &wanted) => Plan::nothing(),
        Some(_) => vec![Action::update(&wanted)].into(),
    }
}

#[derive(Default)]
struct Subset {
    ready: Vec<EndpointAddress>,
    not_ready: Vec<EndpointAddress>,
}

fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    let v6 = families
        .and_then(|families| families.first())
        .is_some_and(|family| family == "IPv6");
    let ip = addresses(pod)
        .into_iter()
        .find(|address| is_ipv6(address) == v6)?;
    Some(EndpointAddress {
        ip: ip.to_owned(),
        hostname: hostname(service, pod),
        node_name: Some(pod_state::node(pod).to_owned()).filter(|node| !node.is_empty()),
        target_ref: Some(reference(pod)),
    })
}

fn assemble(
    service: &Service,
    subsets: BTreeMap<Vec<Port>, Subset>,
    over: bool,
    current: Option<&Endpoints>,
) -> Endpoints {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut meta = current.map_or_else(
        || ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        |current| current.metadata.clone(),
    );
    meta.labels = Some(labels);
    if over {
        meta.annotations
            .get_or_insert_default()
            .insert(OVER_CAPACITY.into(), "truncated".into());
    } else if let Some(annotations) = &mut meta.annotations {
        annotations.remove(OVER_CAPACITY);
    }
    let some = |mut list: Vec<EndpointAddress>| {
        list.sort_by(|a, b| a.ip.cmp(&b.ip));
        Some(list).filter(|list| !list.is_empty())
    };
    let subsets: Vec<EndpointSubset> = subsets
        .into_iter()
        .map(|(ports, subset)| EndpointSubset {
            addresses: some(subset.ready),
            not_ready_addresses: some(subset.not_ready),
            ports: Some(ports.into_iter().map(endpoint_port).collect::<Vec<_>>())
                .filter(|ports| !ports.is_empty()),
        })
        .collect();
    Endpoints {
        metadata: meta,
        subsets: Some(subsets).filter(|subsets| !subsets.is_empty()),
    }
}

fn endpoint_port(port: Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name).filter(|name| !name.is_empty()),
        port: port.port,
        protocol: Some(port.protocol),
        app_protocol: port.app_protocol,
    }
}

fn is_same(current: &Endpoints, wanted: &Endpoints) -> bool {
    current.subsets.as_deref().unwrap_or_default() == wanted.subsets.as_deref().unwrap_or_default()
        && current.metadata.labels == wanted.metadata.labels
        && current.metadata.annotation(OVER_CAPACITY) == wanted.metadata.annotation(OVER_CAPACITY)
}

pub struct EndpointsController {
    services: Cache<Service>,
    pods: Cache<Pod>,
    endpoints: Cache<Endpoints>,
}

impl EndpointsController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            services: informers.of(),
            pods: informers.of(),
            endpoints: informers.of(),
        }
    }
}

impl Controller for EndpointsController {
    fn name(&self) -> &'static str {
        "endpoints-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.services);
        watches.objects(&self.endpoints);
        watch_pods(watches, &self.pods, &self.services);
    }

    fn plan(&self, key: &Key, _context: &Context) -> Plan {
        plan(&Observed {
            service: self.services.get(key),
            pods: self.pods.list_namespace(&key.namespace),
            endpoints: self.endpoints.get(key),
        })
    }
}
