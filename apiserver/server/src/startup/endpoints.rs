//! Endpoints and EndpointSlice of `default/kubernetes`: the addresses of all live replicas.
//!
//! Each replica keeps a key on a lease of 15 s; what hangs there is alive. Follows
//! pkg/controlplane/reconcilers/lease.go (Kubernetes 1.36), with the port as part of the key.

use super::built_in;
use crate::state::{State, store_error};
use crate::verbs::{Next, Ownership, Writer, change_object};
use apiserver_core::ApiError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

const FOLDER: &str = "/registry/masterleases/";
const ALIVE_FOR: Duration = Duration::from_secs(15);

/// Says that this replica lives, and writes down who else does.
pub(super) async fn renew(state: &State) -> Result<(), ApiError> {
    let Some(own) = own_key(state) else { return Ok(()) };
    let lease = state
        .store
        .grant_lease(ALIVE_FOR)
        .await
        .map_err(|error| store_error(&error))?;
    let (found, _) = state.store.get(&own).await.map_err(|error| store_error(&error))?;
    let expected = found.map_or(0, |stored| stored.mod_revision);
    state
        .store
        .put(&own, b"{}", expected, lease)
        .await
        .map_err(|error| store_error(&error))?;
    reconcile(state).await
}

pub(super) async fn leave(state: &State) -> Result<(), ApiError> {
    let Some(own) = own_key(state) else { return Ok(()) };
    let (found, _) = state.store.get(&own).await.map_err(|error| store_error(&error))?;
    let Some(stored) = found else { return Ok(()) };
    state
        .store
        .delete(&own, stored.mod_revision)
        .await
        .map_err(|error| store_error(&error))?;
    reconcile(state).await
}

/// `None` for an address that pods can't reach: such a server isn't an endpoint.
fn own_key(state: &State) -> Option<String> {
    let ip: IpAddr = state.config.advertise_address.parse().ok()?;
    if ip.is_loopback() || ip.is_unspecified() {
        return None;
    }
    Some(format!(
        "{FOLDER}{ip}|{}",
        state.config.advertise_port.unwrap_or(6443)
    ))
}

async fn reconcile(state: &State) -> Result<(), ApiError> {
    let end = crate::cache::prefix_end(FOLDER);
    let page = state
        .store
        .list(FOLDER.as_bytes(), &end, 0, 0)
        .await
        .map_err(|error| store_error(&error))?;
    let mut by_port: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for stored in page.items {
        let key = String::from_utf8_lossy(&stored.key).into_owned();
        if let Some((ip, port)) = key.strip_prefix(FOLDER).and_then(|name| name.split_once('|'))
            && let Ok(port) = port.parse()
        {
            by_port.entry(port).or_default().push(ip.to_owned());
        }
    }
    // With nobody left, the last one's address stays: clients get a refusal, not "no such service".
    if by_port.is_empty() {
        return Ok(());
    }
    let port = |port: &u16| json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    let subsets: Vec<Value> = by_port
        .iter()
        .map(|(number, ips)| {
            let addresses: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
            json!({"addresses": addresses, "ports": port(number)})
        })
        .collect();
    let endpoints = json!({"kind": "Endpoints", "apiVersion": "v1",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": subsets});
    write(state, "", "endpoints", endpoints, &["subsets"]).await?;
    // A slice has one set of ports; replicas of a cluster share theirs.
    let Some((number, ips)) = by_port.iter().max_by_key(|(_, ips)| ips.len()) else {
        return Ok(());
    };
    let members: Vec<Value> = ips
        .iter()
        .map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}}))
        .collect();
    let slice = json!({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4", "endpoints": members, "ports": port(number)});
    write(
        state,
        "discovery.k8s.io",
        "endpointslices",
        slice,
        &["endpoints", "ports"],
    )
    .await
}

async fn write(
    state: &State,
    group: &str,
    resource: &str,
    wanted: Value,
    fields: &[&str],
) -> Result<(), ApiError> {
    let resource = built_in(state, group, resource)?;
    let mut change = |current: Option<&Value>| {
        let object = match current {
            None => wanted.clone(),
            Some(current) => {
                let mut next = current.clone();
                for field in fields {
                    next[*field] = wanted[*field].clone();
                }
                next
            }
        };
        Ok(Next {
            object,
            ownership: Ownership::Update,
        })
    };
    let mut writer = Writer::loopback(state.now());
    change_object(
        state,
        &resource,
        &mut writer,
        "default",
        "kubernetes",
        &mut change,
    )
    .await?;
    Ok(())
}
