//! A ruleset as elements of maps and sets, and its text for `nft -f`.

use super::structure::{MASQUERADE_MARK, Structure};
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The one table that the proxy owns; nothing else is touched.
pub const TABLE: &str = "trireme-proxy";

pub(super) const SERVICES: &str = "services";
pub(super) const NODE_PORTS: &str = "nodeports";
pub(super) const HAIRPIN: &str = "hairpin";
pub(super) const REJECTED: &str = "rejected";
pub(super) const REJECTED_PORTS: &str = "rejected_ports";
pub(super) const DROPPED: &str = "dropped";
pub(super) const DROPPED_PORTS: &str = "dropped_ports";

/// Elements in one `add element` statement: keeps lines, and nft's parser stack, short.
const BATCH: usize = 200;

/// What should be in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    pub(super) structures: BTreeSet<Structure>,
    /// Map or set → key → value; the value of a set's element is empty.
    pub(super) elements: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) cluster_cidr: Option<Ipv4Net>,
}

impl Ruleset {
    pub(super) fn insert(&mut self, map: &str, key: String, value: String) {
        self.elements
            .entry(map.to_owned())
            .or_default()
            .insert(key, value);
    }

    /// The whole ruleset as one transaction that replaces whatever the table held.
    pub fn full(&self) -> String {
        let mut out = self.frame();
        for structure in &self.structures {
            out.push_str(&structure.definition(TABLE));
        }
        for (map, elements) in &self.elements {
            add_elements(&mut out, map, elements.iter());
        }
        out
    }

    /// The transaction that turns `old` into this ruleset; `None` when they are equal.
    ///
    /// Structures that are no longer used stay: they are few, and may be wanted again.
    pub fn change_from(&mut self, old: &Self) -> Option<String> {
        if self.cluster_cidr != old.cluster_cidr {
            return Some(self.full());
        }
        let mut out = String::new();
        for structure in self.structures.difference(&old.structures) {
            out.push_str(&structure.definition(TABLE));
        }
        self.structures.extend(old.structures.iter().copied());
        let empty = BTreeMap::new();
        let maps: BTreeSet<&String> = self.elements.keys().chain(old.elements.keys()).collect();
        // Deletions first, in all maps: an element whose value changes is deleted and added again.
        for map in &maps {
            let (new, old) = (
                self.elements.get(*map).unwrap_or(&empty),
                old.elements.get(*map).unwrap_or(&empty),
            );
            let gone: Vec<&str> = old
                .iter()
                .filter(|(key, value)| new.get(*key) != Some(value))
                .map(|(key, _)| key.as_str())
                .collect();
            for batch in gone.chunks(BATCH) {
                let _ = writeln!(out, "delete element ip {TABLE} {map} {{ {} }}", batch.join(", "));
            }
        }
        for map in maps {
            let (new, old) = (
                self.elements.get(map).unwrap_or(&empty),
                old.elements.get(map).unwrap_or(&empty),
            );
            add_elements(
                &mut out,
                map,
                new.iter().filter(|(key, value)| old.get(*key) != Some(value)),
            );
        }
        if out.is_empty() { None } else { Some(out) }
    }

    /// The table with its hooks, fixed maps and sets.
    fn frame(&self) -> String {
        let masquerade_outside = self.cluster_cidr.map_or_else(String::new, |pods| {
            format!("ip saddr {pods} ip daddr != {pods} fib daddr type != local masquerade fully-random")
        });
        let frontend = "ip daddr . meta l4proto . th dport";
        let local = "fib daddr type local meta l4proto . th dport";
        format!(
            "add table ip {TABLE}\ndelete table ip {TABLE}\n\
             table ip {TABLE} {{\n\
             map {SERVICES} {{ type ipv4_addr . inet_proto . inet_service : verdict; }}\n\
             map {NODE_PORTS} {{ type inet_proto . inet_service : verdict; }}\n\
             set {HAIRPIN} {{ type ipv4_addr . ipv4_addr; }}\n\
             set {REJECTED} {{ type ipv4_addr . inet_proto . inet_service; }}\n\
             set {REJECTED_PORTS} {{ type inet_proto . inet_service; }}\n\
             set {DROPPED} {{ type ipv4_addr . inet_proto . inet_service; }}\n\
             set {DROPPED_PORTS} {{ type inet_proto . inet_service; }}\n\
             chain dispatch {{\n\
             {frontend} vmap @{SERVICES}\n\
             fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @{NODE_PORTS}\n\
             }}\n\
             chain prerouting {{\ntype nat hook prerouting priority dstnat; policy accept;\njump dispatch\n}}\n\
             chain output {{\ntype nat hook output priority -100; policy accept;\njump dispatch\n}}\n\
             chain postrouting {{\ntype nat hook postrouting priority srcnat; policy accept;\n\
             ct mark {MASQUERADE_MARK:#x} masquerade fully-random\n\
             ct status dnat ip saddr . ip daddr @{HAIRPIN} masquerade fully-random\n\
             {masquerade_outside}\n}}\n\
             chain refuse {{\n\
             {frontend} @{DROPPED} drop\n\
             {frontend} @{REJECTED} reject\n\
             {local} @{DROPPED_PORTS} drop\n\
             {local} @{REJECTED_PORTS} reject\n\
             }}\n\
             chain forward {{\ntype filter hook forward priority 0; policy accept;\nct state new jump refuse\n}}\n\
             chain input {{\ntype filter hook input priority 0; policy accept;\nct state new jump refuse\n}}\n\
             chain local_output {{\ntype filter hook output priority 0; policy accept;\nct state new jump refuse\n}}\n\
             }}\n"
        )
    }
}

fn add_elements<'a>(out: &mut String, map: &str, elements: impl Iterator<Item = (&'a String, &'a String)>) {
    let texts: Vec<String> = elements
        .map(|(key, value)| {
            if value.is_empty() {
                key.clone()
            } else {
                format!("{key} : {value}")
            }
        })
        .collect();
    for batch in texts.chunks(BATCH) {
        let _ = writeln!(out, "add element ip {TABLE} {map} {{ {} }}", batch.join(", "));
    }
}
