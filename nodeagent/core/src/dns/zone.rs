//! What the zone is made of: Services and EndpointSlices, reduced to what queries ask for.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The zone of one cluster. Keys are `namespace/name`.
#[derive(Debug, Clone, Default)]
pub struct DnsZone {
    /// Labels of the cluster domain, lower case, outermost last: `["cluster", "local"]`.
    pub(super) domain: Vec<String>,
    /// By namespace, then name.
    pub(super) services: BTreeMap<String, BTreeMap<String, ServiceRecords>>,
    slices: BTreeMap<String, SliceRecords>,
    by_service: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServiceRecords {
    /// Empty when headless.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) external_name: Option<String>,
    pub(super) ports: Vec<PortRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PortRecord {
    pub(super) name: String,
    /// Lower case.
    pub(super) protocol: String,
    pub(super) port: u16,
}

#[derive(Debug, Clone, Default)]
struct SliceRecords {
    service: String,
    endpoints: Vec<EndpointRecord>,
}

/// One address of a headless Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndpointRecord {
    pub(super) address: IpAddr,
    /// Its label below the Service: a hostname, or its address with dashes.
    pub(super) label: String,
    pub(super) ports: Vec<PortRecord>,
}

impl DnsZone {
    /// A zone without any records, for `domain` such as `cluster.local`.
    pub fn new(domain: &str) -> Self {
        Self {
            domain: domain
                .trim_matches('.')
                .to_ascii_lowercase()
                .split('.')
                .map(str::to_owned)
                .collect(),
            ..Self::default()
        }
    }

    pub fn set_service(&mut self, key: &str, service: &Service) {
        let Some((namespace, name)) = key.split_once('/') else {
            return;
        };
        let spec = service.spec.clone().unwrap_or_default();
        let addresses = if spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty()) {
            spec.cluster_ips.unwrap_or_default()
        } else {
            spec.cluster_ip.into_iter().collect()
        };
        let external = spec.type_.as_deref() == Some("ExternalName");
        let records = ServiceRecords {
            // "None" is no address.
            addresses: addresses.iter().filter_map(|ip| ip.parse().ok()).collect(),
            external_name: spec.external_name.filter(|_| external),
            ports: spec
                .ports
                .into_iter()
                .flatten()
                .filter_map(|port| port_record(port.name, port.protocol, Some(port.port)))
                .collect(),
        };
        self.services
            .entry(namespace.to_owned())
            .or_default()
            .insert(name.to_owned(), records);
    }

    pub fn remove_service(&mut self, key: &str) {
        let Some((namespace, name)) = key.split_once('/') else {
            return;
        };
        if let Some(services) = self.services.get_mut(namespace) {
            services.remove(name);
            if services.is_empty() {
                self.services.remove(namespace);
            }
        }
    }

    pub fn set_slice(&mut self, key: &str, slice: &EndpointSlice) {
        self.remove_slice(key);
        let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
        let labels = slice.metadata.labels.as_ref();
        let Some(service) = labels.and_then(|labels| labels.get("kubernetes.io/service-name")) else {
            return;
        };
        let ports: Vec<PortRecord> = slice
            .ports
            .iter()
            .flatten()
            .filter_map(|port| port_record(port.name.clone(), port.protocol.clone(), port.port))
            .collect();
        let mut endpoints = Vec::new();
        for endpoint in slice.endpoints.iter().flatten() {
            // Unknown counts as ready. Services that publish unready addresses have them marked as ready.
            let ready = endpoint
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready);
            if ready == Some(false) {
                continue;
            }
            for address in &endpoint.addresses {
                let Ok(address) = address.parse::<IpAddr>() else {
                    continue;
                };
                let label = match endpoint.hostname.as_deref() {
                    Some(hostname) if !hostname.is_empty() => hostname.to_ascii_lowercase(),
                    _ => dashed(address),
                };
                endpoints.push(EndpointRecord {
                    address,
                    label,
                    ports: ports.clone(),
                });
            }
        }
        let service = format!("{namespace}/{service}");
        self.by_service
            .entry(service.clone())
            .or_default()
            .insert(key.to_owned());
        self.slices
            .insert(key.to_owned(), SliceRecords { service, endpoints });
    }

    pub fn remove_slice(&mut self, key: &str) {
        let Some(slice) = self.slices.remove(key) else {
            return;
        };
        if let Some(keys) = self.by_service.get_mut(&slice.service) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_service.remove(&slice.service);
            }
        }
    }

    /// The ready endpoints of a Service, each once however many slices name it.
    pub(super) fn endpoints(&self, namespace: &str, service: &str) -> Vec<&EndpointRecord> {
        let keys = self.by_service.get(&format!("{namespace}/{service}"));
        let all: BTreeSet<&EndpointRecord> = keys
            .into_iter()
            .flatten()
            .filter_map(|key| self.slices.get(key))
            .flat_map(|slice| &slice.endpoints)
            .collect();
        all.into_iter().collect()
    }

    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&ServiceRecords> {
        self.services.get(namespace)?.get(name)
    }
}

/// An address as a label: `10-0-0-1`.
pub(super) fn dashed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        // Written in full, so that no label starts or ends with a dash.
        IpAddr::V6(address) => address.segments().map(|segment| format!("{segment:x}")).join("-"),
    }
}

fn port_record(name: Option<String>, protocol: Option<String>, port: Option<i32>) -> Option<PortRecord> {
    Some(PortRecord {
        name: name.unwrap_or_default().to_ascii_lowercase(),
        protocol: protocol.unwrap_or_else(|| "TCP".to_owned()).to_ascii_lowercase(),
        port: u16::try_from(port?).ok()?,
    })
}
