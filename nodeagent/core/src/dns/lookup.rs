//! From a name to what is known about it.

use super::zone::{DnsZone, PortRecord, ServiceRecords};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The version of the specification, answered as text under `dns-version`.
const SPECIFICATION: &str = "1.1.0";

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Addresses(Vec<IpAddr>),
    Alias(String),
    /// Targets by full name (without the last dot), each with its addresses.
    Locations(Vec<Location>),
    Names(Vec<String>),
    Text(String),
    /// The name exists and has nothing to tell.
    Nothing,
    /// There is no such name in the cluster.
    Unknown,
    /// Not the cluster's.
    Foreign,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) target: String,
    pub(super) port: u16,
    pub(super) addresses: Vec<IpAddr>,
}

impl DnsZone {
    /// `labels` in lower case, innermost first, without the root.
    pub(super) fn find(&self, labels: &[&str]) -> Found {
        if let Some(address) = reversed_address(labels) {
            return self.find_pointer(address);
        }
        let Some(split) = labels.len().checked_sub(self.domain.len()) else {
            return Found::Foreign;
        };
        let (inner, domain) = labels.split_at(split);
        if domain != self.domain.as_slice() {
            return Found::Foreign;
        }
        match inner {
            [] | ["svc" | "pod"] => Found::Nothing,
            ["dns-version"] => Found::Text(SPECIFICATION.to_owned()),
            [namespace, "svc" | "pod"] => match self.services.contains_key(*namespace) {
                true => Found::Nothing,
                false => Found::Unknown,
            },
            [address, _, "pod"] => undashed(address).map_or(Found::Unknown, |a| Found::Addresses(vec![a])),
            [rest @ .., service, namespace, "svc"] => match self.service(namespace, service) {
                Some(records) => self.find_in_service(rest, service, namespace, records),
                None => Found::Unknown,
            },
            _ => Found::Unknown,
        }
    }

    fn find_in_service(
        &self,
        rest: &[&str],
        service: &str,
        namespace: &str,
        records: &ServiceRecords,
    ) -> Found {
        if let Some(target) = &records.external_name {
            return match rest {
                [] => Found::Alias(target.clone()),
                _ => Found::Unknown,
            };
        }
        let headless = records.addresses.is_empty();
        match rest {
            [] if !headless => Found::Addresses(records.addresses.clone()),
            [] => {
                let endpoints = self.endpoints(namespace, service);
                some_addresses(endpoints.iter().map(|endpoint| endpoint.address).collect())
            }
            [protocol] if protocol.starts_with('_') => {
                let any = records.ports.iter().any(|port| is(protocol, &port.protocol));
                if any { Found::Nothing } else { Found::Unknown }
            }
            [port, protocol] if port.starts_with('_') && protocol.starts_with('_') => {
                let wanted =
                    |candidate: &&PortRecord| is(port, &candidate.name) && is(protocol, &candidate.protocol);
                self.locate(service, namespace, records, wanted)
            }
            [label] => {
                let endpoints = self.endpoints(namespace, service);
                let matching = endpoints.iter().filter(|endpoint| endpoint.label == *label);
                let addresses: Vec<IpAddr> = matching.map(|endpoint| endpoint.address).collect();
                if addresses.is_empty() {
                    Found::Unknown
                } else {
                    Found::Addresses(addresses)
                }
            }
            _ => Found::Unknown,
        }
    }

    fn locate(
        &self,
        service: &str,
        namespace: &str,
        records: &ServiceRecords,
        wanted: impl Fn(&&PortRecord) -> bool,
    ) -> Found {
        let name = format!("{service}.{namespace}.svc.{}", self.domain.join("."));
        let locations: Vec<Location> = if records.addresses.is_empty() {
            self.endpoints(namespace, service)
                .iter()
                .filter_map(|endpoint| {
                    Some(Location {
                        target: format!("{}.{name}", endpoint.label),
                        port: endpoint.ports.iter().find(&wanted)?.port,
                        addresses: vec![endpoint.address],
                    })
                })
                .collect()
        } else {
            let ports = records.ports.iter().filter(&wanted);
            ports
                .map(|port| Location {
                    target: name.clone(),
                    port: port.port,
                    addresses: records.addresses.clone(),
                })
                .collect()
        };
        if locations.is_empty() {
            return Found::Unknown;
        }
        Found::Locations(locations)
    }

    /// Pointers are rare: a walk over the Services costs less than keeping an index of every address.
    fn find_pointer(&self, address: IpAddr) -> Found {
        let domain = self.domain.join(".");
        for (namespace, services) in &self.services {
            for (service, records) in services {
                if records.addresses.contains(&address) {
                    return Found::Names(vec![format!("{service}.{namespace}.svc.{domain}")]);
                }
            }
        }
        let mut names = Vec::new();
        for (namespace, services) in &self.services {
            for (service, records) in services {
                if !records.addresses.is_empty() || records.external_name.is_some() {
                    continue;
                }
                for endpoint in self.endpoints(namespace, service) {
                    if endpoint.address == address {
                        names.push(format!("{}.{service}.{namespace}.svc.{domain}", endpoint.label));
                    }
                }
            }
        }
        if names.is_empty() {
            Found::Foreign
        } else {
            Found::Names(names)
        }
    }
}

fn some_addresses(addresses: Vec<IpAddr>) -> Found {
    if addresses.is_empty() {
        // A headless Service without ready endpoints: CoreDNS says that there is no such name.
        return Found::Unknown;
    }
    Found::Addresses(addresses)
}

fn is(label: &str, name: &str) -> bool {
    label.strip_prefix('_') == Some(name)
}

fn undashed(label: &str) -> Option<IpAddr> {
    if let Ok(address) = label.replace('-', ".").parse::<Ipv4Addr>() {
        return Some(IpAddr::V4(address));
    }
    let address = label.replace('-', ":").parse::<Ipv6Addr>().ok()?;
    Some(IpAddr::V6(address))
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` stands for.
fn reversed_address(labels: &[&str]) -> Option<IpAddr> {
    match labels {
        [d, c, b, a, "in-addr", "arpa"] => format!("{a}.{b}.{c}.{d}")
            .parse::<Ipv4Addr>()
            .ok()
            .map(IpAddr::V4),
        [nibbles @ .., "ip6", "arpa"] if nibbles.len() == 32 => {
            let mut bits: u128 = 0;
            for nibble in nibbles.iter().rev() {
                if nibble.len() != 1 {
                    return None;
                }
                bits = bits << 4 | u128::from(u8::from_str_radix(nibble, 16).ok()?);
            }
            Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::zone::dashed;
    use super::{reversed_address, undashed};

    #[test]
    fn addresses_survive_being_written_as_labels() {
        for text in ["10.0.0.1", "fd00::1", "::1"] {
            let address = text.parse().expect("an address");
            assert_eq!(undashed(&dashed(address)), Some(address), "{text}");
        }
        assert_eq!(undashed("web-0"), None);
        let labels = ["4", "3", "2", "1", "in-addr", "arpa"];
        assert_eq!(
            reversed_address(&labels),
            Some("1.2.3.4".parse().expect("an address"))
        );
    }
}
