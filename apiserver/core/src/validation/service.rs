//! Services (`ValidateService`, `ValidateServiceUpdate`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{metadata, tree};

fn kind(service: &Value) -> &str {
    tree::text(service, &["spec", "type"])
}

fn texts<'a>(service: &'a Value, field: &str) -> Vec<&'a str> {
    tree::list(service, &["spec", field])
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

fn is_headless(service: &Value) -> bool {
    texts(service, "clusterIPs") == ["None"]
}

fn reachable_from_outside(service: &Value) -> bool {
    matches!(kind(service), "LoadBalancer" | "NodePort")
        || (kind(service) == "ClusterIP" && !texts(service, "externalIPs").is_empty())
}

fn has_health_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && tree::text(service, &["spec", "externalTrafficPolicy"]) == "Local"
}

pub(super) fn service(service: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = service.get("spec").unwrap_or(&Value::Null);
    let mut errors = ErrorList::new();
    if tree::list(spec, &["ports"]).is_empty() && !is_headless(service) && kind(service) != "ExternalName" {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    if is_headless(service) && matches!(kind(service), "LoadBalancer" | "NodePort") {
        let why = format!("may not be set to 'None' for {} services", kind(service));
        errors.push(FieldError::invalid(
            &path.child("clusterIPs").index(0),
            "None",
            why,
        ));
    }
    if kind(service) == "ExternalName" {
        errors.extend(external_name(spec, &path));
    }
    errors.extend(ports(service, &path.child("ports")));
    errors.extend(metadata::validate_labels(
        spec,
        &["selector"],
        &path.child("selector"),
    ));
    errors.extend(affinity(spec, &path));
    errors.extend(cluster_ips(service, &path));
    for (i, address) in texts(service, "externalIPs").into_iter().enumerate() {
        let path = path.child("externalIPs").index(i);
        let problems = check::ip(address, &path);
        let special = problems
            .is_empty()
            .then(|| super::endpoints::special_address(address, &path));
        errors.extend(problems);
        errors.extend(special.flatten());
    }
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    errors.extend(check::one_of(spec, "type", &path, &kinds));
    errors.extend(load_balancer(service, &path));
    errors.extend(traffic(service, &path));
    errors
}

fn external_name(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if tree::at(spec, &[field]).is_some_and(|value| !tree::is_empty(value)) {
            let why = "may not be set for ExternalName services";
            errors.push(FieldError::forbidden(&path.child(field), why));
        }
    }
    let name = tree::text(spec, &["externalName"]);
    let path = path.child("externalName");
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.push(FieldError::required(&path, "")),
        name => errors.extend(check::subdomain(name, &path)),
    }
    errors
}

fn ports(service: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = tree::list(service, &["spec", "ports"]);
    let (mut names, mut numbers, mut node_ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (i, port) in list.iter().enumerate() {
        let path = path.index(i);
        let name = tree::text(port, &["name"]);
        if !name.is_empty() {
            errors.extend(check::label(name, &path.child("name")));
            if !names.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        } else if list.len() > 1 {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        let number = tree::int(port, &["port"]).unwrap_or(0);
        errors.extend(check::port_number(number, &path.child("port")));
        errors.extend(check::protocol(port, &path));
        errors.extend(check::port(
            tree::at(port, &["targetPort"]),
            &path.child("targetPort"),
        ));
        if let Some(protocol) = tree::at(port, &["appProtocol"]).and_then(Value::as_str) {
            errors.extend(check::qualified_name(protocol, &path.child("appProtocol")));
        }
        let node_port = tree::int(port, &["nodePort"]).unwrap_or(0);
        if kind(service) == "ClusterIP" && node_port != 0 {
            let why = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(&path.child("nodePort"), why));
        }
        let protocol = tree::text(port, &["protocol"]);
        if node_port != 0 && !node_ports.insert((protocol, node_port)) {
            errors.push(FieldError::duplicate(&path.child("nodePort"), node_port));
        }
        if !numbers.insert((protocol, number)) {
            let key = json!({"port": number, "protocol": protocol});
            errors.push(FieldError::duplicate(&path, key));
        }
    }
    errors
}

/// A day.
const MAX_AFFINITY_SECONDS: i64 = 86_400;

fn affinity(spec: &Value, path: &FieldPath) -> ErrorList {
    let supported = ["ClientIP", "None"];
    let mut errors: ErrorList = check::one_of(spec, "sessionAffinity", path, &supported)
        .into_iter()
        .collect();
    let config = tree::at(spec, &["sessionAffinityConfig"]);
    let path = path.child("sessionAffinityConfig");
    match tree::text(spec, &["sessionAffinity"]) {
        "None" if config.is_some() => {
            let why = "must not be set when session affinity is None";
            errors.push(FieldError::forbidden(&path, why));
        }
        "ClientIP" => {
            let seconds = tree::int(spec, &["sessionAffinityConfig", "clientIP", "timeoutSeconds"]);
            let at = path.child("clientIP").child("timeoutSeconds");
            match seconds {
                None => {
                    let why = "when session affinity type is ClientIP";
                    errors.push(FieldError::required(&at, why));
                }
                Some(seconds) if !(1..=MAX_AFFINITY_SECONDS).contains(&seconds) => {
                    let why = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
                    errors.push(FieldError::invalid(&at, seconds, why));
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
    errors
}

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` agree (`ValidateServiceClusterIPsRelatedFields`).
fn cluster_ips(service: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    if kind(service) == "ExternalName" {
        return errors;
    }
    let spec = service.get("spec").unwrap_or(&Value::Null);
    let (ips, families) = (texts(service, "clusterIPs"), texts(service, "ipFamilies"));
    let single = tree::text(spec, &["clusterIP"]);
    let (ips_path, families_path) = (path.child("clusterIPs"), path.child("ipFamilies"));
    if single.is_empty() && !ips.is_empty() {
        let why = "must be empty when `clusterIP` is not specified";
        errors.push(FieldError::invalid(&ips_path, json!(ips), why));
    } else if !single.is_empty() && ips.is_empty() {
        errors.push(FieldError::required(&ips_path, ""));
    } else if !single.is_empty() && ips[0] != single {
        let why = "first value must match `clusterIP`";
        errors.push(FieldError::invalid(&ips_path, json!(ips), why));
    }
    let supported = ["IPv4", "IPv6"];
    for (i, family) in families.iter().enumerate() {
        if !supported.contains(family) {
            errors.push(FieldError::not_supported(
                &families_path.index(i),
                *family,
                &supported,
            ));
        }
        if families[..i].contains(family) {
            errors.push(FieldError::duplicate(&families_path.index(i), *family));
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    errors.extend(check::optional_one_of(spec, "ipFamilyPolicy", path, &policies));
    let mut broken = false;
    for (i, address) in ips.iter().enumerate() {
        if i == 0 && *address == "None" {
            if ips.len() > 1 {
                broken = true;
                let why = "'None' must be the first and only value";
                errors.push(FieldError::invalid(&ips_path, json!(ips), why));
            }
            continue;
        }
        let problems = check::ip(address, &ips_path.index(i));
        broken |= !problems.is_empty();
        errors.extend(problems);
    }
    if ips.len() > 2 {
        let why = "may only hold up to 2 values";
        errors.push(FieldError::invalid(&ips_path, json!(ips), why));
    }
    if broken {
        return errors;
    }
    let sixes = ips.iter().filter(|address| address.contains(':')).count();
    if ips.len() > 1 && (sixes == 0 || sixes == ips.len()) {
        let why = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(&ips_path, json!(ips), why));
    }
    if !is_headless(service) {
        for (i, (address, family)) in ips.iter().zip(&families).enumerate() {
            if address.contains(':') != (*family == "IPv6") {
                let why = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
                errors.push(FieldError::invalid(&ips_path.index(i), *address, why));
            }
        }
    }
    errors
}

const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

fn load_balancer(service: &Value, path: &FieldPath) -> ErrorList {
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    let mut errors = ErrorList::new();
    let balanced = kind(service) == "LoadBalancer";
    let ranges = texts(service, "loadBalancerSourceRanges");
    let ranges_path = path.child("LoadBalancerSourceRanges");
    if !ranges.is_empty() && !balanced {
        errors.push(FieldError::forbidden(&ranges_path, ONLY));
    }
    for (i, range) in ranges.iter().enumerate() {
        errors.extend(check::cidr(range.trim(), &ranges_path.index(i)));
    }
    if let Some(text) = tree::annotation(service, SOURCE_RANGES).filter(|_| ranges.is_empty()) {
        let path = FieldPath::new("metadata.annotations").key(SOURCE_RANGES);
        if !balanced {
            errors.push(FieldError::forbidden(&path, ONLY));
        }
        for range in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
            errors.extend(check::cidr(range.trim(), &path));
        }
    }
    let allocates = tree::at(service, &["spec", "allocateLoadBalancerNodePorts"]);
    if allocates.is_some() && !balanced {
        let path = path.child("allocateLoadBalancerNodePorts");
        errors.push(FieldError::forbidden(&path, ONLY));
    }
    if let Some(class) = tree::at(service, &["spec", "loadBalancerClass"]).and_then(Value::as_str) {
        let path = path.child("loadBalancerClass");
        if balanced {
            errors.extend(check::qualified_name(class, &path));
        } else {
            errors.push(FieldError::forbidden(&path, ONLY));
        }
    }
    errors
}

fn traffic(service: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = service.get("spec").unwrap_or(&Value::Null);
    let policies = ["Cluster", "Local"];
    let external = tree::text(spec, &["externalTrafficPolicy"]);
    if reachable_from_outside(service) {
        errors.extend(check::one_of(spec, "externalTrafficPolicy", path, &policies));
    } else if !external.is_empty() {
        let why = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(
            &path.child("externalTrafficPolicy"),
            external,
            why,
        ));
    }
    let health = tree::int(spec, &["healthCheckNodePort"]).unwrap_or(0);
    let health_path = path.child("healthCheckNodePort");
    match (has_health_port(service), health) {
        (false, 0) => {}
        (false, _) => {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(FieldError::invalid(&health_path, health, why));
        }
        (true, 0) => errors.push(FieldError::required(&health_path, "")),
        (true, _) => errors.extend(check::port_number(health, &health_path)),
    }
    if kind(service) != "ExternalName" && tree::at(spec, &["internalTrafficPolicy"]).is_none() {
        let path = path.child("internalTrafficPolicy");
        errors.push(FieldError::required(&path, ""));
    }
    errors.extend(check::optional_one_of(
        spec,
        "internalTrafficPolicy",
        path,
        &policies,
    ));
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    errors.extend(check::optional_one_of(
        spec,
        "trafficDistribution",
        path,
        &distributions,
    ));
    errors
}

/// Addresses stay; a second one may come and go.
pub(super) fn update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = FieldPath::new("spec");
    let both = |test: fn(&Value) -> bool| (test(old), test(new));
    let external = both(|service| kind(service) == "ExternalName");
    let headless = both(is_headless);
    if external == (false, false) {
        if headless != (true, true) {
            errors.extend(list_update(new, old, "clusterIPs", "clusterIP", &path));
        }
        if headless == (false, false) {
            errors.extend(list_update(new, old, "ipFamilies", "ipFamily", &path));
        }
    }
    if both(|service| kind(service) == "LoadBalancer") == (true, true) {
        let class = ["spec", "loadBalancerClass"];
        if tree::at(new, &class) != tree::at(old, &class) {
            let shown = tree::at(new, &class).cloned().unwrap_or_default();
            let path = path.child("loadBalancerClass");
            errors.push(FieldError::invalid(&path, shown, "may not change once set"));
        }
    }
    if both(has_health_port) == (true, true) {
        let port = ["spec", "healthCheckNodePort"];
        if tree::int(new, &port) != tree::int(old, &port) {
            let path = path.child("healthCheckNodePort");
            errors.push(FieldError::forbidden(&path, check::IMMUTABLE));
        }
    }
    errors
}

fn list_update(new: &Value, old: &Value, field: &str, one: &str, path: &FieldPath) -> ErrorList {
    const CHANGED: &str = "may not change once set";
    let mut errors = ErrorList::new();
    let (now, before) = (texts(new, field), texts(old, field));
    let at = path.child(field);
    if now.is_empty() && !before.is_empty() {
        let why = format!("primary {one} can not be unset");
        errors.push(FieldError::invalid(&at.index(0), json!(now), why));
    }
    for (i, (now_one, before_one)) in now.iter().zip(&before).enumerate() {
        if now_one != before_one {
            errors.push(FieldError::invalid(&at.index(i), json!(now), CHANGED));
        }
    }
    let policy = ["spec", "ipFamilyPolicy"];
    if before.len() > 1 && now.len() == 1 && tree::text(new, &policy) != "SingleStack" {
        let why = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        let shown = tree::at(new, &policy).cloned().unwrap_or_default();
        errors.push(FieldError::invalid(&path.child("ipFamilyPolicy"), shown, why));
    }
    errors
}

/// The addresses of a load balancer.
pub(super) fn status(service: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = tree::list(service, &["status", "loadBalancer", "ingress"]);
    for (i, ingress) in list.iter().enumerate() {
        let path = FieldPath::new("status.loadBalancer.ingress").index(i);
        let address = tree::text(ingress, &["ip"]);
        if !address.is_empty() {
            errors.extend(check::ip(address, &path.child("ip")));
        } else if tree::at(ingress, &["ipMode"]).is_some() {
            let why = "may not be specified when `ip` is not set";
            errors.push(FieldError::forbidden(&path.child("ipMode"), why));
        }
        errors.extend(check::optional_one_of(
            ingress,
            "ipMode",
            &path,
            &["Proxy", "VIP"],
        ));
        let name = tree::text(ingress, &["hostname"]);
        if !name.is_empty() {
            errors.extend(check::subdomain(name, &path.child("hostname")));
            if crate::names::ip(name).is_empty() {
                let why = "must be a DNS name, not an IP address";
                errors.push(FieldError::invalid(&path.child("hostname"), name, why));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests;
