//! What one Service gets: addresses by family and policy, node ports by type.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{pick_ip, pick_port};
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::tree;

/// What other Services have.
pub trait Taken {
    fn ip(&self, ip: IpAddr) -> bool;
    fn port(&self, port: u16) -> bool;
}

/// What was newly given to a Service, to be recorded together with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocated {
    pub ips: Vec<IpAddr>,
    pub ports: Vec<u16>,
}

/// The ranges of a cluster.
#[derive(Clone, Debug)]
pub struct ServiceAllocator {
    /// One range, or two of different families; the first one's family is the default.
    pub networks: Vec<IpNet>,
    pub node_ports: RangeInclusive<u16>,
}

fn kind(service: &Value) -> &str {
    tree::text(service, &["spec", "type"])
}

fn is_external_name(service: &Value) -> bool {
    kind(service) == "ExternalName"
}

fn family(network: &IpNet) -> &'static str {
    if network.addr().is_ipv4() { "IPv4" } else { "IPv6" }
}

fn ips_of(service: &Value) -> Vec<IpAddr> {
    if is_external_name(service) {
        return Vec::new();
    }
    tree::list(service, &["spec", "clusterIPs"])
        .iter()
        .filter_map(|ip| ip.as_str()?.parse().ok())
        .collect()
}

fn ports_of(service: &Value) -> BTreeSet<u16> {
    let mut ports: BTreeSet<u16> = tree::list(service, &["spec", "ports"])
        .iter()
        .filter_map(|port| u16::try_from(tree::int(port, &["nodePort"])?).ok())
        .filter(|port| *port != 0)
        .collect();
    ports.extend(
        tree::int(service, &["spec", "healthCheckNodePort"])
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0),
    );
    ports
}

/// What an update (or a deletion, `new` absent) gives back.
pub fn released(new: Option<&Value>, old: &Value) -> Allocated {
    let (kept_ips, kept_ports) = match new {
        Some(new) => (ips_of(new), ports_of(new)),
        None => (Vec::new(), BTreeSet::new()),
    };
    Allocated {
        ips: ips_of(old)
            .into_iter()
            .filter(|ip| !kept_ips.contains(ip))
            .collect(),
        ports: ports_of(old).difference(&kept_ports).copied().collect(),
    }
}

impl ServiceAllocator {
    /// Completes addresses, families and ports of a new or changed Service. Runs after defaulting and
    /// `prepare_for_update`, before validation.
    ///
    /// # Errors
    /// Addresses and ports that are taken or not in range, full ranges, families that the cluster has not.
    pub fn allocate(
        &self,
        service: &mut Value,
        old: Option<&Value>,
        taken: &dyn Taken,
        random: u64,
    ) -> Result<Allocated, ErrorList> {
        let mut errors = ErrorList::new();
        let mut allocated = Allocated::default();
        if is_external_name(service) {
            for field in ["ipFamilies", "ipFamilyPolicy"] {
                tree::remove(service, &["spec", field]);
            }
        } else {
            self.families(service, &mut errors);
            if errors.is_empty() {
                allocated.ips = self.addresses(service, old, taken, random, &mut errors);
            }
        }
        if errors.is_empty() {
            allocated.ports = self.ports(service, old, taken, random, &mut errors);
        }
        if errors.is_empty() {
            Ok(allocated)
        } else {
            Err(errors)
        }
    }

    /// `defaultOnReadService`, `initIPFamilyFields`: policy and families.
    fn families(&self, service: &mut Value, errors: &mut ErrorList) {
        let cluster: Vec<&str> = self.networks.iter().map(family).collect();
        let headless = tree::text(service, &["spec", "clusterIP"]) == "None"
            || tree::list(service, &["spec", "clusterIPs"])
                .first()
                .is_some_and(|ip| ip == "None");
        let no_selector = tree::at(service, &["spec", "selector"]).is_none_or(tree::is_empty);
        let given: Vec<String> = tree::list(service, &["spec", "ipFamilies"])
            .iter()
            .filter_map(|family| family.as_str().map(str::to_owned))
            .collect();
        if tree::at(service, &["spec", "ipFamilyPolicy"]).is_none() {
            let dual = (headless && no_selector && given.is_empty())
                || given.len() == 2
                || tree::list(service, &["spec", "clusterIPs"]).len() == 2;
            let policy = if dual { "RequireDualStack" } else { "SingleStack" };
            tree::set(service, &["spec", "ipFamilyPolicy"], policy);
        }
        let policy = tree::text(service, &["spec", "ipFamilyPolicy"]).to_owned();
        let mut families = given.clone();
        if families.is_empty() {
            families = tree::list(service, &["spec", "clusterIPs"])
                .iter()
                .filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok())
                .map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned())
                .collect();
        }
        if families.is_empty()
            && let Ok(ip) = tree::text(service, &["spec", "clusterIP"]).parse::<IpAddr>()
        {
            families.push(if ip.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned());
        }
        let unchecked = headless && no_selector;
        let wanted = match policy.as_str() {
            "SingleStack" => 1,
            "PreferDualStack" if !unchecked => cluster.len().min(2),
            _ => 2,
        };
        let path = FieldPath::new("spec.ipFamilies");
        for (i, family) in families.iter().enumerate() {
            if !unchecked && !cluster.contains(&family.as_str()) {
                let why = "not configured on this cluster";
                errors.push(FieldError::invalid(&path.index(i), family.as_str(), why));
            }
        }
        if policy == "RequireDualStack" && !unchecked && cluster.len() < 2 {
            let why = "this cluster is not configured for dual-stack services";
            errors.push(FieldError::invalid(
                &FieldPath::new("spec.ipFamilyPolicy"),
                policy,
                why,
            ));
            return;
        }
        for family in cluster.iter().copied().chain(["IPv4", "IPv6"]) {
            if families.len() < wanted && !families.iter().any(|known| known == family) {
                families.push(family.to_owned());
            }
        }
        if policy == "SingleStack" && given.is_empty() {
            families.truncate(1);
        }
        tree::set(service, &["spec", "ipFamilies"], json!(families));
    }

    fn addresses(
        &self,
        service: &mut Value,
        old: Option<&Value>,
        taken: &dyn Taken,
        random: u64,
        errors: &mut ErrorList,
    ) -> Vec<IpAddr> {
        let mut ips: Vec<String> = tree::list(service, &["spec", "clusterIPs"])
            .iter()
            .filter_map(|ip| ip.as_str().map(str::to_owned))
            .collect();
        let primary = tree::text(service, &["spec", "clusterIP"]).to_owned();
        if !primary.is_empty() && ips.is_empty() {
            ips.push(primary);
        }
        if ips.first().is_some_and(|ip| ip == "None") {
            tree::set(service, &["spec", "clusterIP"], "None");
            tree::set(service, &["spec", "clusterIPs"], json!(["None"]));
            return Vec::new();
        }
        let had = old.map(ips_of).unwrap_or_default();
        let families: Vec<String> = tree::list(service, &["spec", "ipFamilies"])
            .iter()
            .filter_map(|family| family.as_str().map(str::to_owned))
            .collect();
        ips.truncate(families.len());
        let path = FieldPath::new("spec.clusterIPs");
        let mut given = Vec::new();
        for (i, wanted) in families.iter().enumerate() {
            let Some(network) = self.networks.iter().find(|network| family(network) == wanted) else {
                continue;
            };
            match ips.get(i).map(|ip| ip.parse::<IpAddr>()) {
                Some(Ok(ip)) if had.contains(&ip) => {}
                Some(Ok(ip)) => {
                    let why = if !network.contains(&ip) {
                        format!("provided IP is not in the valid range. The range of valid IPs is {network}")
                    } else if taken.ip(ip) {
                        "provided IP is already allocated".to_owned()
                    } else {
                        given.push(ip);
                        continue;
                    };
                    let why = format!("failed to allocate IP {ip}: {why}");
                    errors.push(FieldError::invalid(&path, json!(ips), why));
                }
                // Validation says what is wrong with it.
                Some(Err(_)) => {}
                None => match pick_ip(network, |ip| taken.ip(ip), random.wrapping_add(i as u64)) {
                    Some(ip) => {
                        given.push(ip);
                        ips.push(ip.to_string());
                    }
                    None => errors.push(FieldError::internal(
                        &path,
                        format!("failed to allocate a serviceIP: range {network} is full"),
                    )),
                },
            }
        }
        if let Some(first) = ips.first() {
            tree::set(service, &["spec", "clusterIP"], first.as_str());
        }
        tree::set(service, &["spec", "clusterIPs"], json!(ips));
        given
    }

    fn ports(
        &self,
        service: &mut Value,
        old: Option<&Value>,
        taken: &dyn Taken,
        random: u64,
        errors: &mut ErrorList,
    ) -> Vec<u16> {
        let load_balancer = kind(service) == "LoadBalancer";
        let wants = kind(service) == "NodePort"
            || (load_balancer
                && tree::at(service, &["spec", "allocateLoadBalancerNodePorts"]) != Some(&json!(false)));
        let had = old.map(ports_of).unwrap_or_default();
        let mut given: Vec<u16> = Vec::new();
        let mut by_port: Vec<(i64, String, u16)> = Vec::new();
        let range = format!("{}-{}", self.node_ports.start(), self.node_ports.end());
        let path = FieldPath::new("spec.ports");
        for (i, port) in tree::list_mut(service, &["spec", "ports"]).iter_mut().enumerate() {
            let number = tree::int(port, &["port"]).unwrap_or(0);
            let protocol = tree::text(port, &["protocol"]).to_owned();
            let asked = tree::int(port, &["nodePort"])
                .and_then(|port| u16::try_from(port).ok())
                .filter(|p| *p != 0);
            let path = path.index(i).child("nodePort");
            if let Some(asked) = asked {
                if !had.contains(&asked) && !given.contains(&asked) {
                    if !self.node_ports.contains(&asked) {
                        let why = format!(
                            "provided port is not in the valid range. The range of valid ports is {range}"
                        );
                        errors.push(FieldError::invalid(&path, asked, why));
                    } else if taken.port(asked) {
                        errors.push(FieldError::invalid(
                            &path,
                            asked,
                            "provided port is already allocated",
                        ));
                    } else {
                        given.push(asked);
                    }
                }
                by_port.push((number, protocol, asked));
            } else if wants {
                // The same port in another protocol gets the same node port.
                let shared = by_port
                    .iter()
                    .find(|(known, other, _)| *known == number && *other != protocol)
                    .map(|(_, _, p)| *p);
                let used = |port| taken.port(port) || had.contains(&port) || given.contains(&port);
                match shared.or_else(|| pick_port(&self.node_ports, used, random.wrapping_add(i as u64))) {
                    Some(picked) => {
                        if shared.is_none() {
                            given.push(picked);
                        }
                        by_port.push((number, protocol, picked));
                        tree::set(port, &["nodePort"], picked);
                    }
                    None => errors.push(FieldError::internal(
                        &path,
                        "failed to allocate a nodePort: range is full",
                    )),
                }
            }
        }
        if load_balancer
            && tree::text(service, &["spec", "externalTrafficPolicy"]) == "Local"
            && tree::int(service, &["spec", "healthCheckNodePort"]).unwrap_or(0) == 0
        {
            let used = |port| taken.port(port) || had.contains(&port) || given.contains(&port);
            if let Some(port) = pick_port(&self.node_ports, used, random.rotate_left(17)) {
                given.push(port);
                tree::set(service, &["spec", "healthCheckNodePort"], port);
            }
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Some1;

    impl Taken for Some1 {
        fn ip(&self, ip: IpAddr) -> bool {
            ip.to_string() == "10.96.0.10"
        }

        fn port(&self, port: u16) -> bool {
            port == 30001
        }
    }

    fn allocator() -> ServiceAllocator {
        ServiceAllocator {
            networks: vec!["10.96.0.0/16".parse().unwrap()],
            node_ports: super::super::NODE_PORTS,
        }
    }

    #[test]
    fn a_service_gets_an_address_and_ports_and_keeps_them() {
        let mut service = json!({"spec": {"type": "NodePort", "ports": [
            {"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}});
        let given = allocator().allocate(&mut service, None, &Some1, 5).unwrap();
        assert_eq!((given.ips.len(), given.ports.len()), (1, 1));
        assert_eq!(service["spec"]["clusterIP"], given.ips[0].to_string());
        assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4"]));
        assert_eq!(service["spec"]["ipFamilyPolicy"], "SingleStack");
        assert_eq!(
            service["spec"]["ports"][0]["nodePort"],
            service["spec"]["ports"][1]["nodePort"]
        );
        let old = service.clone();
        assert_eq!(
            allocator().allocate(&mut service, Some(&old), &Some1, 9).unwrap(),
            Allocated::default()
        );
        assert_eq!(service, old);
        assert_eq!(released(None, &old), given);
    }

    #[test]
    fn what_is_taken_or_out_of_range_is_refused() {
        let cases = [
            (
                json!({"clusterIP": "10.96.0.10"}),
                "failed to allocate IP 10.96.0.10: provided IP is already allocated",
            ),
            (
                json!({"clusterIP": "10.1.0.1"}),
                "not in the valid range. The range of valid IPs is 10.96.0.0/16",
            ),
            (
                json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 30001}]}),
                "provided port is already allocated",
            ),
            (
                json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]}),
                "The range of valid ports is 30000-32767",
            ),
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                "this cluster is not configured for dual-stack services",
            ),
        ];
        for (spec, why) in cases {
            let errors = allocator()
                .allocate(&mut json!({"spec": spec}), None, &Some1, 1)
                .unwrap_err();
            assert!(errors[0].to_string().contains(why), "{}", errors[0]);
        }
    }

    #[test]
    fn headless_and_external_services_get_nothing() {
        let mut headless =
            json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "selector": {"a": "b"}}});
        assert_eq!(
            allocator().allocate(&mut headless, None, &Some1, 1).unwrap(),
            Allocated::default()
        );
        assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
        let mut external = json!({"spec": {"type": "ExternalName", "externalName": "a.b"}});
        assert_eq!(
            allocator().allocate(&mut external, None, &Some1, 1).unwrap(),
            Allocated::default()
        );
        assert!(external["spec"].get("clusterIPs").is_none());
    }
}
