//! From Services and EndpointSlices to map elements.

use super::ruleset::{
    DROPPED, DROPPED_PORTS, HAIRPIN, NODE_PORTS, REJECTED, REJECTED_PORTS, Ruleset, SERVICES,
};
use super::structure::{Match, Structure};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

/// What the proxy of one node sees.
#[derive(Debug, Clone)]
pub struct ProxyInput<'a> {
    pub services: &'a [Arc<Service>],
    pub slices: &'a [Arc<EndpointSlice>],
    pub node_name: &'a str,
    /// Addresses of all pods of the cluster; traffic from them to elsewhere leaves as the node's own.
    pub cluster_cidr: Option<Ipv4Net>,
    /// Service addresses that somebody else answers on this node: cluster DNS.
    pub served_locally: &'a [Ipv4Addr],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Backend {
    address: Ipv4Addr,
    port: u16,
    local: bool,
}

/// The backends of one service port: all of them, and whether this node holds some.
#[derive(Debug, Default)]
struct Backends(Vec<Backend>);

impl Backends {
    fn for_policy(&self, local_only: bool) -> Vec<Backend> {
        self.0
            .iter()
            .filter(|b| !local_only || b.local)
            .copied()
            .collect()
    }
}

/// The ruleset that carries all Services on this node.
pub fn plan(input: &ProxyInput<'_>) -> Ruleset {
    let mut ruleset = Ruleset {
        cluster_cidr: input.cluster_cidr,
        ..Ruleset::default()
    };
    let mut slices: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in input.slices {
        let name = slice
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(SERVICE_NAME));
        if let Some(name) = name.filter(|_| slice.address_type == "IPv4") {
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            slices.entry((namespace, name)).or_default().push(slice);
        }
    }
    for service in input.services {
        let labels = service.metadata.labels.as_ref();
        let Some(spec) = service
            .spec
            .as_ref()
            .filter(|_| labels.is_none_or(|l| !l.contains_key(OTHER_PROXY)))
        else {
            continue;
        };
        let key = (
            service.metadata.namespace.as_deref().unwrap_or_default(),
            service.metadata.name.as_deref().unwrap_or_default(),
        );
        let slices = slices.get(&key).map_or(&[][..], Vec::as_slice);
        for port in spec.ports.iter().flatten() {
            let backends = backends(slices, port, input.node_name);
            add_port(&mut ruleset, input, service, spec, port, &backends);
        }
    }
    ruleset
}

/// Ready endpoints; while none is ready, those that still serve though they are ending.
fn backends(slices: &[&EndpointSlice], port: &ServicePort, node: &str) -> Backends {
    let wanted = port.name.as_deref().unwrap_or_default();
    let (mut ready, mut ending) = (BTreeSet::new(), BTreeSet::new());
    for slice in slices {
        let number = slice
            .ports
            .iter()
            .flatten()
            .find(|p| p.name.as_deref().unwrap_or_default() == wanted)
            .and_then(|p| p.port)
            .and_then(|p| u16::try_from(p).ok());
        let Some(number) = number else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(address) = endpoint.addresses.first().and_then(|a| a.parse().ok()) else {
                continue;
            };
            let local = endpoint.node_name.as_deref() == Some(node);
            let backend = Backend {
                address,
                port: number,
                local,
            };
            match state(endpoint) {
                State::Ready => ready.insert(backend),
                State::Ending => ending.insert(backend),
                State::Unusable => false,
            };
        }
    }
    let chosen = if ready.is_empty() { ending } else { ready };
    Backends(chosen.into_iter().collect())
}

enum State {
    Ready,
    Ending,
    Unusable,
}

fn state(endpoint: &Endpoint) -> State {
    let Some(conditions) = &endpoint.conditions else {
        return State::Ready;
    };
    if conditions.ready.unwrap_or(true) {
        State::Ready
    } else if conditions.serving.unwrap_or(false) && conditions.terminating.unwrap_or(false) {
        State::Ending
    } else {
        State::Unusable
    }
}

fn add_port(
    ruleset: &mut Ruleset,
    input: &ProxyInput<'_>,
    service: &Service,
    spec: &ServiceSpec,
    port: &ServicePort,
    backends: &Backends,
) {
    let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec
            .session_affinity_config
            .as_ref()
            .and_then(|c| c.client_ip.as_ref());
        let seconds = config
            .and_then(|c| c.timeout_seconds)
            .unwrap_or(DEFAULT_AFFINITY_SECONDS);
        u32::try_from(seconds).unwrap_or_default().max(1)
    });
    for backend in &backends.0 {
        ruleset.insert(HAIRPIN, format!("{0} . {0}", backend.address), String::new());
    }
    let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
    let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
    let frontend = |address: Ipv4Addr| format!("{address} . {protocol} . {}", port.port);
    let usable = |address: &Ipv4Addr| !input.served_locally.contains(address) && !address.is_unspecified();

    for address in cluster_addresses(spec).into_iter().filter(usable) {
        let chosen = backends.for_policy(internal_local);
        let refusal = if backends.0.is_empty() { REJECTED } else { DROPPED };
        let structure = Structure {
            by: Match::Address,
            endpoints: chosen.len(),
            affinity,
            masquerade: false,
        };
        add_frontend(ruleset, SERVICES, refusal, &frontend(address), structure, &chosen);
    }
    let chosen = backends.for_policy(external_local);
    let external = |by| Structure {
        by,
        endpoints: chosen.len(),
        affinity,
        masquerade: !external_local,
    };
    for address in external_addresses(service, spec).into_iter().filter(usable) {
        let refusal = if backends.0.is_empty() { REJECTED } else { DROPPED };
        add_frontend(
            ruleset,
            SERVICES,
            refusal,
            &frontend(address),
            external(Match::Address),
            &chosen,
        );
    }
    if let Some(node_port) = port.node_port.filter(|p| *p != 0) {
        let refusal = if backends.0.is_empty() {
            REJECTED_PORTS
        } else {
            DROPPED_PORTS
        };
        let key = format!("{protocol} . {node_port}");
        add_frontend(
            ruleset,
            NODE_PORTS,
            refusal,
            &key,
            external(Match::NodePort),
            &chosen,
        );
    }
}

fn add_frontend(
    ruleset: &mut Ruleset,
    dispatch: &str,
    refusal: &str,
    frontend: &str,
    structure: Structure,
    chosen: &[Backend],
) {
    if chosen.is_empty() {
        ruleset.insert(refusal, frontend.to_owned(), String::new());
        return;
    }
    ruleset.structures.insert(structure);
    ruleset.insert(
        dispatch,
        frontend.to_owned(),
        format!("goto {}", structure.chain()),
    );
    let map = structure.endpoint_map();
    for (index, backend) in chosen.iter().enumerate() {
        let key = format!("{frontend} . {}", index + structure.first_index());
        ruleset.insert(&map, key, format!("{} . {}", backend.address, backend.port));
    }
}

fn cluster_addresses(spec: &ServiceSpec) -> BTreeSet<Ipv4Addr> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return BTreeSet::new();
    }
    let listed = spec.cluster_ips.iter().flatten();
    // "None", of a headless Service, is no address.
    listed
        .chain(spec.cluster_ip.iter())
        .filter_map(|address| address.parse().ok())
        .collect()
}

fn external_addresses(service: &Service, spec: &ServiceSpec) -> BTreeSet<Ipv4Addr> {
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.into_iter().flat_map(|b| b.ingress.iter().flatten());
    let virtual_ones = ingress
        .filter(|i| i.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|i| i.ip.as_ref());
    spec.external_ips
        .iter()
        .flatten()
        .chain(virtual_ones)
        .filter_map(|address| address.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{ProxyInput, plan};
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn service(spec: Value) -> Arc<Service> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec}))
                .expect("a service"),
        )
    }

    fn slice(endpoints: &[(&str, &str, bool)]) -> Arc<EndpointSlice> {
        let endpoints: Vec<Value> = endpoints
            .iter()
            .map(|(address, node, ready)| json!({"addresses": [address], "nodeName": node, "conditions": {"ready": ready}}))
            .collect();
        let slice = json!({"metadata": {"name": "web-1", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints});
        Arc::new(serde_json::from_value(slice).expect("a slice"))
    }

    fn ruleset(service: &Arc<Service>, slice: &Arc<EndpointSlice>) -> super::Ruleset {
        plan(&ProxyInput {
            services: std::slice::from_ref(service),
            slices: std::slice::from_ref(slice),
            node_name: "n1",
            cluster_cidr: "10.244.0.0/16".parse().ok(),
            served_locally: &[],
        })
    }

    fn element<'a>(ruleset: &'a super::Ruleset, map: &str, key: &str) -> Option<&'a str> {
        ruleset.elements.get(map)?.get(key).map(String::as_str)
    }

    fn plain() -> Value {
        json!({"type": "NodePort", "clusterIP": "10.96.0.5", "ports": [{"port": 80, "nodePort": 30080}]})
    }

    #[test]
    fn a_service_is_elements_for_its_address_and_its_node_port() {
        let rules = ruleset(
            &service(plain()),
            &slice(&[("10.244.1.2", "n1", true), ("10.244.2.2", "n2", true)]),
        );
        assert_eq!(
            element(&rules, "services", "10.96.0.5 . tcp . 80"),
            Some("goto addr2")
        );
        assert_eq!(element(&rules, "nodeports", "tcp . 30080"), Some("goto port2_m"));
        assert_eq!(
            element(&rules, "ep2", "10.96.0.5 . tcp . 80 . 1"),
            Some("10.244.2.2 . 8080")
        );
        assert_eq!(
            element(&rules, "npep2", "tcp . 30080 . 0"),
            Some("10.244.1.2 . 8080")
        );
        assert_eq!(element(&rules, "hairpin", "10.244.1.2 . 10.244.1.2"), Some(""));
    }

    #[test]
    fn a_service_without_ready_endpoints_is_rejected() {
        let rules = ruleset(&service(plain()), &slice(&[("10.244.1.2", "n1", false)]));
        assert_eq!(element(&rules, "rejected", "10.96.0.5 . tcp . 80"), Some(""));
        assert_eq!(element(&rules, "rejected_ports", "tcp . 30080"), Some(""));
        assert_eq!(element(&rules, "services", "10.96.0.5 . tcp . 80"), None);
    }

    #[test]
    fn the_local_policy_keeps_the_source_and_never_leaves_the_node() {
        let mut spec = plain();
        spec["externalTrafficPolicy"] = json!("Local");
        let local = ruleset(
            &service(spec.clone()),
            &slice(&[("10.244.1.2", "n1", true), ("10.244.2.2", "n2", true)]),
        );
        assert_eq!(element(&local, "nodeports", "tcp . 30080"), Some("goto port1"));
        let elsewhere = ruleset(&service(spec), &slice(&[("10.244.2.2", "n2", true)]));
        assert_eq!(element(&elsewhere, "dropped_ports", "tcp . 30080"), Some(""));
        assert_eq!(
            element(&elsewhere, "services", "10.96.0.5 . tcp . 80"),
            Some("goto addr1")
        );
    }

    #[test]
    fn a_change_of_one_endpoint_is_a_change_of_its_elements() {
        let old = ruleset(&service(plain()), &slice(&[("10.244.1.2", "n1", true)]));
        let mut new = ruleset(&service(plain()), &slice(&[("10.244.1.3", "n1", true)]));
        let change = new.change_from(&old).expect("a change");
        assert!(
            change.contains("delete element ip trireme-proxy ep1 { 10.96.0.5 . tcp . 80 . 0 }"),
            "{change}"
        );
        assert!(
            change.contains(
                "add element ip trireme-proxy ep1 { 10.96.0.5 . tcp . 80 . 0 : 10.244.1.3 . 8080 }"
            )
        );
        assert!(!change.contains("add map"), "{change}");
        let mut same = new.clone();
        assert_eq!(same.change_from(&new), None);
    }

    #[test]
    fn a_client_with_affinity_is_remembered_by_index() {
        let mut spec = plain();
        spec["sessionAffinity"] = json!("ClientIP");
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 60}});
        let rules = ruleset(&service(spec), &slice(&[("10.244.1.2", "n1", true)]));
        assert_eq!(
            element(&rules, "services", "10.96.0.5 . tcp . 80"),
            Some("goto addr1_a60")
        );
        assert_eq!(
            element(&rules, "epmark", "10.96.0.5 . tcp . 80 . 1"),
            Some("10.244.1.2 . 8080")
        );
        assert!(rules.full().contains("clients_addr_60"));
    }
}
