//! Takes back reservations whose Service isn't there (a crash between the two writes), and reserves what a Service
//! has without a reservation.

use super::{PORTS, address, address_key, port_key, used_ports};
use crate::cache::Filter;
use crate::state::{State, store_error};
use apiserver_core::service_ip::released;
use apiserver_core::{ApiError, tree};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// One round. `suspects` are the unowned reservations of the round before, by key and revision: one that is still
/// there and still unowned isn't a write under way.
pub(crate) async fn repair(state: &State, suspects: &mut BTreeMap<String, i64>) -> Result<(), ApiError> {
    let services = state.filled("", "v1", "services").await?;
    state
        .caches
        .fresh(&services)
        .await
        .map_err(|error| crate::state::read_error(&error))?;
    let mut ips: BTreeSet<IpAddr> = BTreeSet::new();
    let mut ports: BTreeSet<u16> = BTreeSet::new();
    for entry in services.list(&Filter::default()).0 {
        let service = entry.shared();
        for ip in released(None, &service).ips {
            ips.insert(ip);
            let value = address(state, ip, &service);
            // Guarded by "absent": a conflict means that it is there, as it should be.
            let _ = state
                .store
                .put(&address_key(ip), &crate::cache::stored_bytes(&value), 0, 0)
                .await;
        }
        for port in used_ports(&service) {
            ports.insert(port);
            let owner = json!({"service": format!("{}/{}", entry.namespace, entry.name)});
            let _ = state
                .store
                .put(&port_key(port), owner.to_string().as_bytes(), 0, 0)
                .await;
        }
    }
    let mut unowned = BTreeMap::new();
    for prefix in [PORTS, "/registry/networking.k8s.io/ipaddresses/"] {
        let end = crate::cache::prefix_end(prefix);
        let page = state
            .store
            .list(prefix.as_bytes(), &end, 0, 0)
            .await
            .map_err(|error| store_error(&error))?;
        for stored in page.items {
            let key = String::from_utf8_lossy(&stored.key).into_owned();
            let name = key.strip_prefix(prefix).unwrap_or_default();
            let owned = if prefix == PORTS {
                name.parse().is_ok_and(|port| ports.contains(&port))
            } else {
                let ours = serde_json::from_slice::<Value>(&stored.value).is_ok_and(|object| {
                    tree::text(
                        &object,
                        &["metadata", "labels", "ipaddress.kubernetes.io/managed-by"],
                    ) == "ipallocator.k8s.io"
                });
                !ours || name.parse().is_ok_and(|ip| ips.contains(&ip))
            };
            if owned {
                continue;
            }
            if suspects.get(&key) == Some(&stored.mod_revision) {
                tracing::info!(key, "taking back a reservation without a Service");
                state
                    .store
                    .delete(&key, stored.mod_revision)
                    .await
                    .map_err(|error| store_error(&error))?;
            } else {
                unowned.insert(key, stored.mod_revision);
            }
        }
    }
    *suspects = unowned;
    Ok(())
}
