//! EndpointSlice mirroring: slices for Endpoints that people write by hand.
//! Source: `pkg/controller/endpointslicemirroring` (1.36).

use super::pods::{Port, is_ipv6};
use super::service_slices::{MANAGED_BY, SERVICE_NAME};
use super::slices::{Frame, Group, reconcile};
use crate::action::{Action, Plan};
use crate::object::{Key, MetaView, controller_reference};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use std::collections::BTreeMap;
use std::sync::Arc;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Addresses of one subset that are mirrored. Upstream's `--mirroring-max-endpoints-per-subset`.
const CAPACITY: usize = 1000;

pub struct Observed {
    pub key: Key,
    pub service: Option<Arc<Service>>,
    pub endpoints: Option<Arc<Endpoints>>,
    /// All slices of the namespace.
    pub slices: Vec<Arc<EndpointSlice>>,
}

pub fn plan(observed: &Observed) -> Plan {
    let mine: Vec<Arc<EndpointSlice>> = observed
        .slices
        .iter()
        .filter(|slice| {
            slice.metadata.label(SERVICE_NAME) == Some(&observed.key.name)
                && slice.metadata.label(MANAGED_BY) == Some(MANAGER)
        })
        .cloned()
        .collect();
    let Some(endpoints) = observed.endpoints.as_deref().filter(|_| is_mirrored(observed)) else {
        return mine
            .iter()
            .map(|slice| Action::delete(slice.as_ref()))
            .collect::<Vec<_>>()
            .into();
    };
    let mut groups: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        mirror(subset, &mut groups);
    }
    reconcile(&frame(endpoints), groups, &mine).into()
}

fn is_mirrored(observed: &Observed) -> bool {
    let manual = observed.service.as_ref().is_some_and(|service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_none_or(BTreeMap::is_empty)
    });
    let wanted = observed.endpoints.as_ref().is_some_and(|endpoints| {
        let meta = &endpoints.metadata;
        meta.label(SKIP) != Some("true") && meta.annotation(LEADER).is_none() && !meta.is_terminating()
    });
    manual && wanted
}

fn mirror(subset: &EndpointSubset, groups: &mut BTreeMap<Group, Vec<Endpoint>>) {
    let mut ports: Vec<Port> = subset
        .ports
        .iter()
        .flatten()
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            port: port.port,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    ports.sort();
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let not_ready = subset
        .not_ready_addresses
        .iter()
        .flatten()
        .map(|address| (address, false));
    for (address, ready) in ready.chain(not_ready).take(CAPACITY) {
        let group = Group {
            address_type: if is_ipv6(&address.ip) { "IPv6" } else { "IPv4" },
            ports: ports.clone(),
        };
        groups.entry(group).or_default().push(endpoint(address, ready));
    }
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn frame(endpoints: &Endpoints) -> Frame {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), endpoints.metadata.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    annotations.remove("endpoints.kubernetes.io/last-change-trigger-time");
    Frame {
        namespace: endpoints.metadata.namespace().to_owned(),
        prefix: format!("{}-", endpoints.metadata.name()),
        labels,
        annotations,
        reference: controller_reference::<Endpoints>(&endpoints.metadata),
    }
}

pub struct EndpointSliceMirroringController {
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    slices: Cache<EndpointSlice>,
}

impl EndpointSliceMirroringController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            services: informers.of(),
            endpoints: informers.of(),
            slices: informers.of(),
        }
    }
}

impl Controller for EndpointSliceMirroringController {
    fn name(&self) -> &'static str {
        "endpointslice-mirroring-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.services);
        watches.objects(&self.endpoints);
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
        plan(&Observed {
            key: key.clone(),
            service: self.services.get(key),
            endpoints: self.endpoints.get(key),
            slices: self.slices.list_namespace(&key.namespace),
        })
    }
}
