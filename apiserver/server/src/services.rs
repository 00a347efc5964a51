//! Addresses and node ports of Services, unique across all replicas.
//!
//! What a Service gets is first written down for itself, guarded by "nobody has it", then the Service is written:
//! an address as the IPAddress object of its name, a node port as a reserved key. Two replicas can't give away the
//! same thing, and what a crash leaves behind is taken back by the repair round. Follows
//! pkg/registry/core/service/{ipallocator,portallocator} (Kubernetes 1.36) with keys in place of bitmaps.

mod repair;

pub(crate) use repair::repair;

use crate::cache::Filter;
use crate::state::{State, store_error};
use crate::store::Put;
use crate::verbs::Writer;
use apiserver_core::service_ip::{Allocated, ServiceAllocator, Taken, released};
use apiserver_core::{ApiError, Resource, tree};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(super) const PORTS: &str = "/registry/ranges/servicenodeports/";
/// Tries against other replicas that give things away at the same moment.
const ATTEMPTS: usize = 10;

/// What was written down for an object that isn't written yet: store keys.
#[derive(Debug, Default)]
pub(crate) struct Reserved(Vec<String>);

impl Reserved {
    /// Gives everything back.
    pub(crate) async fn release(self, state: &State) {
        for key in self.0 {
            forget(state, &key).await;
        }
    }
}

fn is_service(resource: &Resource) -> bool {
    resource.gvr.group.is_empty() && resource.gvr.resource == "services"
}

fn address_key(ip: IpAddr) -> String {
    format!("/registry/networking.k8s.io/ipaddresses/{ip}")
}

fn port_key(port: u16) -> String {
    format!("{PORTS}{port}")
}

/// What other Services have, by this server's caches and by failed reservations.
struct Known {
    ips: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
}

impl Taken for Known {
    fn ip(&self, ip: IpAddr) -> bool {
        self.ips.contains(&ip)
    }
    fn port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }
}

/// Completes a Service with addresses and ports and reserves them. Other objects pass untouched.
pub(crate) async fn reserve(
    state: &State,
    resource: &Resource,
    writer: &Writer,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<Reserved, ApiError> {
    if !is_service(resource) || !writer.subresource.is_empty() {
        return Ok(Reserved::default());
    }
    let allocator = ServiceAllocator {
        networks: vec![IpNet::V4(state.config.service_cidr)],
        node_ports: state.config.node_ports.clone(),
    };
    let mut known = known(state).await?;
    for _ in 0..ATTEMPTS {
        let mut candidate = new.clone();
        let random = state.env.random.u64();
        let allocated = allocator
            .allocate(&mut candidate, old, &known, random)
            .map_err(|errors| ApiError::invalid("", "Service", tree::name(new), &errors))?;
        if writer.dry_run {
            *new = candidate;
            return Ok(Reserved::default());
        }
        match write_down(state, &candidate, &allocated).await? {
            Ok(reserved) => {
                *new = candidate;
                return Ok(reserved);
            }
            // Somebody else has it, which the cache didn't know.
            Err(Lost::Ip(ip)) => {
                known.ips.insert(ip);
            }
            Err(Lost::Port(port)) => {
                known.ports.insert(port);
            }
        }
    }
    Err(ApiError::server_timeout(&resource.group_resource(), "create", 1))
}

enum Lost {
    Ip(IpAddr),
    Port(u16),
}

async fn write_down(
    state: &State,
    service: &Value,
    allocated: &Allocated,
) -> Result<Result<Reserved, Lost>, ApiError> {
    let mut reserved = Reserved::default();
    let wanted = allocated
        .ips
        .iter()
        .map(|ip| (address_key(*ip), address(state, *ip, service), Lost::Ip(*ip)));
    let owner = json!({"service": format!("{}/{}", tree::namespace(service), tree::name(service))});
    let ports = allocated
        .ports
        .iter()
        .map(|port| (port_key(*port), owner.clone(), Lost::Port(*port)));
    for (key, value, lost) in wanted.chain(ports) {
        let written = state
            .store
            .put(&key, &crate::cache::stored_bytes(&value), 0, 0)
            .await;
        match written {
            Ok(Put::Done { .. }) => reserved.0.push(key),
            Ok(Put::Conflict(_)) => {
                reserved.release(state).await;
                return Ok(Err(lost));
            }
            Err(error) => {
                reserved.release(state).await;
                return Err(store_error(&error));
            }
        }
    }
    Ok(Ok(reserved))
}

/// The IPAddress object of an address.
fn address(state: &State, ip: IpAddr, service: &Value) -> Value {
    json!({
        "kind": "IPAddress",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {
            "name": ip.to_string(),
            "uid": state.env.random.uuid(),
            "creationTimestamp": apiserver_core::deletion::rfc3339(state.now()),
            "generation": 1,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": if ip.is_ipv4() { "IPv4" } else { "IPv6" },
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {
            "resource": "services", "namespace": tree::namespace(service), "name": tree::name(service)}},
    })
}

async fn known(state: &State) -> Result<Known, ApiError> {
    let addresses = state.filled("networking.k8s.io", "v1", "ipaddresses").await?;
    let ips = addresses
        .list(&Filter::default())
        .0
        .iter()
        .filter_map(|entry| entry.name.parse().ok())
        .collect();
    let services = state.filled("", "v1", "services").await?;
    let ports = services
        .list(&Filter::default())
        .0
        .iter()
        .flat_map(|entry| used_ports(&entry.shared()))
        .collect();
    Ok(Known { ips, ports })
}

/// All node ports of a Service.
fn used_ports(service: &Value) -> BTreeSet<u16> {
    released(None, service).ports.into_iter().collect()
}

/// Gives back what a changed (`new`) or removed Service no longer has.
pub(crate) async fn give_back(state: &State, resource: &Resource, new: Option<&Value>, old: &Value) {
    if !is_service(resource) {
        return;
    }
    let free = released(new, old);
    for ip in free.ips {
        forget(state, &address_key(ip)).await;
    }
    for port in free.ports {
        forget(state, &port_key(port)).await;
    }
}

/// Deletes a reservation. What can't be deleted now is found by the repair round.
async fn forget(state: &State, key: &str) {
    let deleted = match state.store.get(key).await {
        Ok((Some(stored), _)) => state.store.delete(key, stored.mod_revision).await.map(|_| ()),
        Ok((None, _)) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = deleted {
        tracing::warn!(key, %error, "a reservation stays until the next repair");
    }
}
