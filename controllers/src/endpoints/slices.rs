//! Spreads endpoints over slices with little churn.
//! Source: `staging/src/k8s.io/endpointslice/reconciler.go` (1.36).
//!
//! Invariants:
//! - A slice holds at most [`MAX_ENDPOINTS`] endpoints, all of one address type and one set of ports.
//! - An endpoint that stays, stays in its slice; a slice that doesn't change isn't written.

use super::pods::Port;
use crate::action::Action;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Upstream's `--max-endpoints-per-slice`.
pub const MAX_ENDPOINTS: usize = 100;

/// What endpoints of one slice have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub address_type: &'static str,
    pub ports: Vec<Port>,
}

/// What all slices of one owner have in common.
pub struct Frame {
    pub namespace: String,
    pub prefix: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub reference: OwnerReference,
}

/// The writes that turn `existing` into `wanted`.
pub fn reconcile(
    frame: &Frame,
    wanted: BTreeMap<Group, Vec<Endpoint>>,
    existing: &[Arc<EndpointSlice>],
) -> Vec<Action> {
    let mut by_group: BTreeMap<Group, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    let mut actions = Vec::new();
    for slice in existing {
        match group_of(slice).filter(|group| wanted.contains_key(group)) {
            Some(group) => by_group.entry(group).or_default().push(slice),
            None => actions.push(Action::delete(slice.as_ref())),
        }
    }
    let mut writes = Vec::new();
    for (group, endpoints) in wanted {
        let mine = by_group.remove(&group).unwrap_or_default();
        writes.extend(one_group(frame, &group, endpoints, &mine));
    }
    // New addresses before old slices go, so that nobody sees a Service without endpoints.
    writes.extend(actions);
    writes
}

fn one_group(
    frame: &Frame,
    group: &Group,
    endpoints: Vec<Endpoint>,
    mine: &[&Arc<EndpointSlice>],
) -> Vec<Action> {
    let placeholder = endpoints.is_empty();
    let mut missing: BTreeMap<String, Endpoint> = endpoints
        .into_iter()
        .map(|endpoint| (identity(&endpoint), endpoint))
        .collect();
    let mut kept: Vec<(&Arc<EndpointSlice>, Vec<Endpoint>)> = Vec::new();
    for slice in mine {
        let stay = slice
            .endpoints
            .iter()
            .flatten()
            .filter_map(|endpoint| missing.remove(&identity(endpoint)));
        kept.push((slice, stay.collect()));
    }
    // Newcomers go where something changes anyway, then to the fullest slice with room, then to new ones.
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by_key(|&at| {
        let (slice, stay) = &kept[at];
        let changes = slice.endpoints.as_deref().unwrap_or_default() != stay.as_slice();
        (!changes, std::cmp::Reverse(stay.len()), at)
    });
    for at in order {
        let stay = &mut kept[at].1;
        while stay.len() < MAX_ENDPOINTS
            && let Some((_, endpoint)) = missing.pop_first()
        {
            stay.push(endpoint);
        }
    }
    let mut actions = Vec::new();
    let mut nonempty = 0;
    let mut emptied = Vec::new();
    for (slice, endpoints) in kept {
        if endpoints.is_empty() && !(placeholder && nonempty == 0) {
            emptied.push(Action::delete(slice.as_ref()));
            continue;
        }
        nonempty += 1;
        actions.extend(update(frame, slice, endpoints));
    }
    let mut rest: Vec<Endpoint> = missing.into_values().collect();
    while !rest.is_empty() || (placeholder && nonempty == 0) {
        let later = rest.split_off(rest.len().min(MAX_ENDPOINTS));
        actions.push(create(frame, group, std::mem::replace(&mut rest, later)));
        nonempty += 1;
    }
    actions.extend(emptied);
    actions
}

fn update(frame: &Frame, slice: &EndpointSlice, endpoints: Vec<Endpoint>) -> Option<Action> {
    let mut updated = slice.clone();
    updated.endpoints = Some(endpoints).filter(|all| !all.is_empty());
    updated.metadata.labels = Some(frame.labels.clone());
    let same = updated.endpoints.as_deref().unwrap_or_default()
        == slice.endpoints.as_deref().unwrap_or_default()
        && updated.metadata.labels == slice.metadata.labels;
    // An absent list isn't a valid slice.
    updated.endpoints.get_or_insert_default();
    (!same).then(|| Action::update(&updated))
}

fn create(frame: &Frame, group: &Group, endpoints: Vec<Endpoint>) -> Action {
    Action::create(&EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(frame.prefix.clone()),
            namespace: Some(frame.namespace.clone()),
            labels: Some(frame.labels.clone()),
            annotations: Some(frame.annotations.clone()).filter(|all| !all.is_empty()),
            owner_references: Some(vec![frame.reference.clone()]),
            ..ObjectMeta::default()
        },
        address_type: group.address_type.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(
            group
                .ports
                .iter()
                .map(|port| EndpointPort {
                    name: Some(port.name.clone()),
                    port: Some(port.port),
                    protocol: Some(port.protocol.clone()),
                    app_protocol: port.app_protocol.clone(),
                })
                .collect(),
        ),
    })
}

fn group_of(slice: &EndpointSlice) -> Option<Group> {
    let address_type = ["IPv4", "IPv6"]
        .into_iter()
        .find(|kind| *kind == slice.address_type)?;
    let mut ports: Vec<Port> = slice
        .ports
        .iter()
        .flatten()
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            port: port.port.unwrap_or(0),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    ports.sort();
    Some(Group { address_type, ports })
}

/// What makes two endpoints the same one in different states.
fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint
        .target_ref
        .as_ref()
        .and_then(|target| target.uid.as_deref())
        .unwrap_or_default();
    format!("{} {uid}", endpoint.addresses.join(","))
}
