//! Endpoints and slices of them (`ValidateEndpoints`, `pkg/apis/discovery/validation`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_ZONE_HINTS: usize = 8;

/// Addresses that mean something else on every node are no addresses of endpoints (`ValidateNonSpecialIP`).
pub(super) fn special_address(text: &str, path: &FieldPath) -> Option<FieldError> {
    let why = match text.parse::<IpAddr>().ok()? {
        address if address.is_unspecified() => format!("may not be unspecified ({text})"),
        address if address.is_loopback() => {
            "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()
        }
        address if is_link_local(address) => {
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()
        }
        address if is_link_local_multicast(address) => {
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()
        }
        _ => return None,
    };
    Some(FieldError::invalid(path, text, why))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

pub(super) fn endpoints(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, subset) in tree::list(object, &["subsets"]).iter().enumerate() {
        let path = FieldPath::new("subsets").index(i);
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|list| tree::list(subset, &[list]).is_empty()) {
            let why = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(&path, why));
        }
        for list in lists {
            for (j, address) in tree::list(subset, &[list]).iter().enumerate() {
                errors.extend(endpoint_address(address, &path.child(list).index(j)));
            }
        }
        let ports = tree::list(subset, &["ports"]);
        for (j, port) in ports.iter().enumerate() {
            let path = path.child("ports").index(j);
            let name = tree::text(port, &["name"]);
            if !name.is_empty() {
                errors.extend(check::label(name, &path.child("name")));
            } else if ports.len() > 1 {
                errors.push(FieldError::required(&path.child("name"), ""));
            }
            let number = tree::int(port, &["port"]).unwrap_or(0);
            errors.extend(check::port_number(number, &path.child("port")));
            errors.extend(port_protocols(port, &path));
        }
    }
    errors
}

fn port_protocols(port: &Value, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = check::protocol(port, path).into_iter().collect();
    if let Some(protocol) = tree::at(port, &["appProtocol"]).and_then(Value::as_str) {
        errors.extend(check::qualified_name(protocol, &path.child("appProtocol")));
    }
    errors
}

fn endpoint_address(address: &Value, path: &FieldPath) -> ErrorList {
    let ip = tree::text(address, &["ip"]);
    let mut errors = check::ip(ip, &path.child("ip"));
    let hostname = tree::text(address, &["hostname"]);
    if !hostname.is_empty() {
        errors.extend(check::label(hostname, &path.child("hostname")));
    }
    if let Some(node) = tree::at(address, &["nodeName"]).and_then(Value::as_str) {
        errors.extend(check::subdomain(node, &path.child("nodeName")));
    }
    errors.extend(special_address(ip, &path.child("ip")));
    errors
}

pub(super) fn slice(object: &Value) -> ErrorList {
    let root = FieldPath::default();
    let kinds = ["FQDN", "IPv4", "IPv6"];
    let mut errors: ErrorList = check::one_of(object, "addressType", &root, &kinds)
        .into_iter()
        .collect();
    errors.extend(slice_ports(object, &root.child("ports")));
    let path = root.child("endpoints");
    let endpoints = tree::list(object, &["endpoints"]);
    if endpoints.len() > MAX_ENDPOINTS {
        errors.push(FieldError::too_many(&path, endpoints.len(), MAX_ENDPOINTS));
        return errors;
    }
    let kind = tree::text(object, &["addressType"]);
    for (i, endpoint) in endpoints.iter().enumerate() {
        let path = path.index(i);
        let addresses = tree::list(endpoint, &["addresses"]);
        let at = path.child("addresses");
        if addresses.is_empty() {
            let why = "must contain at least 1 address";
            errors.push(FieldError::required(&at, why));
        } else if addresses.len() > MAX_ADDRESSES {
            errors.push(FieldError::too_many(&at, addresses.len(), MAX_ADDRESSES));
        }
        for (j, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
            errors.extend(slice_address(address, kind, &at.index(j)));
        }
        if let Some(node) = tree::at(endpoint, &["nodeName"]).and_then(Value::as_str) {
            errors.extend(check::subdomain(node, &path.child("nodeName")));
        }
        if let Some(hostname) = tree::at(endpoint, &["hostname"]).and_then(Value::as_str) {
            errors.extend(check::label(hostname, &path.child("hostname")));
        }
        errors.extend(zone_hints(endpoint, &path.child("hints").child("forZones")));
    }
    errors
}

fn zone_hints(endpoint: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let zones = tree::list(endpoint, &["hints", "forZones"]);
    if zones.len() > MAX_ZONE_HINTS {
        errors.push(FieldError::too_many(path, zones.len(), MAX_ZONE_HINTS));
        return errors;
    }
    let mut seen = BTreeSet::new();
    for (i, zone) in zones.iter().enumerate() {
        let path = path.index(i);
        let name = tree::text(zone, &["name"]);
        errors.extend(check::required(zone, "name", &path));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
    errors
}

fn slice_address(address: &str, kind: &str, path: &FieldPath) -> ErrorList {
    let parsed = address.parse::<IpAddr>();
    let why = match (kind, parsed) {
        ("FQDN", _) => return check::subdomain(address, path),
        ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => {
            return special_address(address, path).into_iter().collect();
        }
        ("IPv4", _) => "must be a valid IPv4 address",
        ("IPv6", _) => "must be a valid IPv6 address",
        _ => return ErrorList::new(),
    };
    vec![FieldError::invalid(path, address, why)]
}

fn slice_ports(object: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let ports = tree::list(object, &["ports"]);
    if ports.len() > MAX_PORTS {
        errors.push(FieldError::too_many(path, ports.len(), MAX_PORTS));
        return errors;
    }
    let mut names = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let path = path.index(i);
        let name = tree::text(port, &["name"]);
        if !name.is_empty() {
            errors.extend(check::label(name, &path.child("name")));
        }
        if !names.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        // A port without a number stands for all.
        if let Some(number) = tree::int(port, &["port"]) {
            errors.extend(check::port_number(number, &path.child("port")));
        }
        errors.extend(port_protocols(port, &path));
    }
    errors
}
