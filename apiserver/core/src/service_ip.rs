//! Which cluster IPs and node ports Services get.
//!
//! Follows `pkg/registry/core/service/{ipallocator,portallocator,storage/alloc.go}` (1.36). A range has two bands:
//! the lower one is left to addresses that users choose, as long as the upper one has room. What is taken comes
//! in as a question; that two API servers cannot take the same is for the shell to ensure (one guarded write).

mod allocation;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

pub use allocation::{Allocated, ServiceAllocator, Taken, released};

/// Node ports when nothing else is configured.
pub const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

fn nth(network: &IpNet, index: u128) -> IpAddr {
    match network.network() {
        IpAddr::V4(base) => {
            let number = u32::from(base).wrapping_add(u32::try_from(index).unwrap_or(u32::MAX));
            Ipv4Addr::from(number).into()
        }
        IpAddr::V6(base) => Ipv6Addr::from(u128::from(base).wrapping_add(index)).into(),
    }
}

/// How many addresses of a range can be given out: not the first, and in IPv4 not the last. Huge ranges are cut.
fn usable(network: &IpNet) -> u128 {
    let host_bits = network.max_prefix_len() - network.prefix_len();
    let size = if host_bits >= 64 {
        1u128 << 64
    } else {
        1u128 << host_bits
    };
    let reserved = if network.addr().is_ipv4() { 2 } else { 1 };
    size.saturating_sub(reserved)
}

/// The size of the lower band: a sixteenth, between 16 and 256 (`calculateRangeOffset`).
fn static_band(usable: u128) -> u128 {
    const MIN: u128 = 16;
    if usable < MIN {
        0
    } else {
        (usable / 16).clamp(MIN, 256)
    }
}

/// The first address of a range: that of the `kubernetes` Service.
pub fn first_ip(network: &IpNet) -> IpAddr {
    nth(network, 1)
}

/// A free address: in the upper band from a random place on, else in the lower one. `None`: the range is full.
pub fn pick_ip(network: &IpNet, taken: impl Fn(IpAddr) -> bool, random: u64) -> Option<IpAddr> {
    let usable = usable(network);
    let band = static_band(usable);
    pick(band, usable, random, |index| !taken(nth(network, index + 1)))
        .or_else(|| pick(0, band, random, |index| !taken(nth(network, index + 1))))
        .map(|index| nth(network, index + 1))
}

fn pick(from: u128, to: u128, random: u64, free: impl Fn(u128) -> bool) -> Option<u128> {
    let len = to.checked_sub(from).filter(|len| *len > 0)?;
    let start = u128::from(random) % len;
    (0..len)
        .map(|step| from + (start + step) % len)
        .find(|index| free(*index))
}

/// A free node port, from the upper band first (`calculateRangeOffset` of ports: 1/32, between 16 and 128).
pub fn pick_port(
    ports: &std::ops::RangeInclusive<u16>,
    taken: impl Fn(u16) -> bool,
    random: u64,
) -> Option<u16> {
    let size = u128::from(ports.end().saturating_sub(*ports.start())) + 1;
    let band = if size < 16 { 0 } else { (size / 32).clamp(16, 128) };
    let port = |index: u128| {
        ports
            .start()
            .saturating_add(u16::try_from(index).unwrap_or(u16::MAX))
    };
    pick(band, size, random, |index| !taken(port(index)))
        .or_else(|| pick(0, band, random, |index| !taken(port(index))))
        .map(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn chosen_addresses_have_a_band_of_their_own() {
        let network: IpNet = "10.96.0.0/24".parse().unwrap();
        assert_eq!(first_ip(&network).to_string(), "10.96.0.1");
        let mut taken = BTreeSet::new();
        let mut order = Vec::new();
        while let Some(ip) = pick_ip(&network, |ip| taken.contains(&ip), 7 + order.len() as u64) {
            taken.insert(ip);
            order.push(ip);
        }
        assert_eq!(order.len(), 254);
        let lower = |ip: &IpAddr| *ip <= "10.96.0.16".parse::<IpAddr>().unwrap();
        assert!(!order[..238].iter().any(lower) && order[238..].iter().all(lower));
        let six: IpNet = "fd00::/108".parse().unwrap();
        assert!(six.contains(&pick_ip(&six, |_| false, u64::MAX).unwrap()));
    }

    #[test]
    fn node_ports_leave_the_lower_band_too() {
        for random in 0..5000 {
            assert!(pick_port(&NODE_PORTS, |_| false, random).unwrap() >= 30086);
        }
        assert!(pick_port(&NODE_PORTS, |port| port >= 30086, 1).unwrap() < 30086);
        assert_eq!(pick_port(&NODE_PORTS, |_| true, 1), None);
    }
}
