//! Node IPAM: a range of pod addresses for every node.
//! Source: `pkg/controller/nodeipam/ipam/range_allocator.go`, `cidrset` (1.36).

use crate::action::{Action, Plan};
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

/// The cluster's IPv4 range, cut into equal parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterRange {
    base: u32,
    /// Prefix length of the whole.
    prefix: u8,
    /// Prefix length of one node's part.
    node_prefix: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("not an IPv4 range that holds parts of /{node_prefix}: {text}")]
pub struct BadRange {
    text: String,
    node_prefix: u8,
}

impl ClusterRange {
    /// # Errors
    /// When `text` isn't `a.b.c.d/n` or the parts are larger than the whole.
    pub fn parse(text: &str, node_prefix: u8) -> Result<Self, BadRange> {
        let bad = || BadRange {
            text: text.to_owned(),
            node_prefix,
        };
        let (base, prefix) = parse(text).ok_or_else(bad)?;
        if prefix > node_prefix || node_prefix > 32 || node_prefix - prefix > 16 {
            return Err(bad());
        }
        Ok(Self {
            base,
            prefix,
            node_prefix,
        })
    }

    fn parts(self) -> u32 {
        1 << (self.node_prefix - self.prefix)
    }

    fn part(self, index: u32) -> String {
        let size_bits = 32 - u32::from(self.node_prefix);
        let base = self.base + index.checked_shl(size_bits).unwrap_or(0);
        format!("{}/{}", Ipv4Addr::from(base), self.node_prefix)
    }

    /// The parts that a range lies in or covers.
    fn indices(self, range: &str) -> std::ops::Range<u32> {
        let Some((base, prefix)) = parse(range) else {
            return 0..0;
        };
        let size = |prefix: u8| 1_u64 << (32 - prefix);
        let (from, to) = (u64::from(base), u64::from(base) + size(prefix));
        let (start, end) = (u64::from(self.base), u64::from(self.base) + size(self.prefix));
        if to <= start || from >= end {
            return 0..0;
        }
        let part = size(self.node_prefix);
        let first = (from.max(start) - start) / part;
        let last = (to.min(end) - start).div_ceil(part);
        u32::try_from(first).unwrap_or(0)..u32::try_from(last).unwrap_or(0)
    }
}

/// Address and prefix length, host bits cleared.
fn parse(text: &str) -> Option<(u32, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix): (Ipv4Addr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    if prefix > 32 {
        return None;
    }
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    Some((u32::from(address) & mask, prefix))
}

/// Ranges that were given out and that no node was seen to have, by uid of the node: the write may have been carried
/// out though its answer was lost.
pub type Given = BTreeMap<String, String>;

/// Gives every node without a range the one it was given before, or the lowest free one, in the order of names.
/// Source: upstream's `cidrset` remembers likewise what it gave (`range_allocator.go`, 1.36).
pub fn plan(nodes: &[Arc<Node>], range: ClusterRange, given: &mut Given) -> Plan {
    let mut used = BTreeSet::new();
    let has_range = |node: &Node| {
        node.spec
            .as_ref()
            .and_then(|spec| spec.pod_cidr.clone())
            .filter(|cidr| !cidr.is_empty())
    };
    for node in nodes {
        let listed = node
            .spec
            .as_ref()
            .and_then(|spec| spec.pod_cidrs.clone())
            .unwrap_or_default();
        for cidr in listed.into_iter().chain(has_range(node)) {
            used.extend(range.indices(&cidr));
        }
    }
    let bare: BTreeSet<&str> = nodes
        .iter()
        .filter(|node| has_range(node).is_none())
        .map(|node| node.metadata.uid())
        .collect();
    given.retain(|uid, _| bare.contains(uid.as_str()));
    for cidr in given.values() {
        used.extend(range.indices(cidr));
    }
    let mut free = (0..range.parts()).filter(|index| !used.contains(index));
    let mut actions = Vec::new();
    for node in nodes {
        if has_range(node).is_some() || node.metadata.is_terminating() {
            continue;
        }
        let uid = node.metadata.uid();
        let before = given.get(uid).cloned();
        match before.or_else(|| free.next().map(|index| range.part(index))) {
            Some(cidr) => {
                given.insert(uid.to_owned(), cidr.clone());
                let spec = json!({"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
                actions.push(Action::patch_seen(node.as_ref(), spec));
            }
            None => actions.push(Action::record(
                node.as_ref(),
                true,
                "CIDRNotAvailable",
                format!("Node {} status is now: CIDRNotAvailable", node.metadata.name()),
            )),
        }
    }
    actions.into()
}

pub struct NodeIpamController {
    nodes: Cache<Node>,
    range: ClusterRange,
    given: Mutex<Given>,
}

impl NodeIpamController {
    pub fn new(informers: &Informers, range: ClusterRange) -> Self {
        Self {
            nodes: informers.of(),
            range,
            given: Mutex::default(),
        }
    }
}

impl Controller for NodeIpamController {
    fn name(&self) -> &'static str {
        "node-ipam-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        // One key: ranges are given out one plan at a time, so no two nodes get the same.
        watches.on(&self.nodes, |change| {
            let cidr = |node: &Arc<Node>| node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone());
            let changed = change.old.as_ref().map(cidr) != change.new.as_ref().map(cidr);
            let bare = change.new.as_ref().is_some_and(|node| cidr(node).is_none());
            (changed || bare)
                .then(|| Key::cluster("all"))
                .into_iter()
                .collect()
        });
    }

    fn plan(&self, _key: &Key, _context: &Context) -> Plan {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        plan(&self.nodes.list(), self.range, &mut given)
    }
}

#[cfg(test)]
mod tests {
    use super::{ClusterRange, Given, plan};
    use crate::action::Action;
    use crate::testing::object;
    use k8s_openapi::api::core::v1::Node;
    use serde_json::json;
    use std::sync::Arc;

    fn node(name: &str, cidr: Option<&str>) -> Arc<Node> {
        object(json!({"metadata": {"name": name, "uid": name}, "spec": {"podCIDR": cidr}}))
    }

    fn given(nodes: &[Arc<Node>], range: ClusterRange, remembered: &mut Given) -> Vec<String> {
        let cidr = |action: &Action| match action {
            Action::Patch { target, patch, .. } => {
                format!("{} {}", target.key, patch["spec"]["podCIDR"].as_str().unwrap())
            }
            other => other.summary(),
        };
        let plan = plan(nodes, range, remembered);
        plan.actions.iter().map(cidr).collect()
    }

    #[test]
    fn a_range_whose_giving_was_not_answered_is_given_to_nobody_else() {
        let range = ClusterRange::parse("10.244.0.0/16", 24).unwrap();
        let mut remembered = Given::new();
        assert_eq!(
            given(&[node("b", None)], range, &mut remembered),
            ["b 10.244.0.0/24"]
        );
        // Another node joins before the first is seen with its range.
        let both = [node("a", None), node("b", None)];
        assert_eq!(
            given(&both, range, &mut remembered),
            ["a 10.244.1.0/24", "b 10.244.0.0/24"]
        );
        let seen = [node("a", Some("10.244.1.0/24")), node("b", Some("10.244.0.0/24"))];
        assert!(given(&seen, range, &mut remembered).is_empty() && remembered.is_empty());
    }

    #[test]
    fn nodes_get_the_lowest_free_ranges_and_keep_them() {
        let range = ClusterRange::parse("10.244.0.0/16", 24).unwrap();
        let nodes = [
            node("a", None),
            node("b", Some("10.244.0.0/24")),
            node("c", Some("10.244.2.0/23")),
            node("d", None),
            node("e", None),
        ];
        assert_eq!(
            given(&nodes, range, &mut Given::new()),
            ["a 10.244.1.0/24", "d 10.244.4.0/24", "e 10.244.5.0/24"]
        );
    }

    #[test]
    fn an_exhausted_cluster_range_is_told() {
        let range = ClusterRange::parse("10.0.0.0/24", 24).unwrap();
        let told = given(&[node("a", None), node("b", None)], range, &mut Given::new());
        assert_eq!(
            told,
            [
                "a 10.0.0.0/24",
                "event CIDRNotAvailable: Node b status is now: CIDRNotAvailable"
            ]
        );
        assert!(ClusterRange::parse("10.0.0.0/25", 24).is_err());
    }
}
