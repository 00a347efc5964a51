//! How much of each zone is lost: a dark zone is more likely a cut cable than so many dead nodes.
//! Source: `ComputeZoneState`, `handleDisruption` (1.36).

use super::plan::ready;
use crate::config::NodeConfig;
use crate::object::MetaView;
use k8s_openapi::api::core::v1::Node;
use std::collections::BTreeMap;
use std::sync::Arc;

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Nodes with this label are lost for reasons of their own: they say nothing about their zone.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneState {
    Normal,
    /// Many nodes are lost; `large` zones still evict, slowly.
    PartialDisruption {
        large: bool,
    },
    /// No node is ready.
    FullDisruption,
}

pub fn zone_of(node: &Node) -> String {
    let label = |key| node.metadata.label(key).unwrap_or_default();
    format!("{}:{}", label(REGION), label(ZONE))
}

/// Nodes that aren't ready are lost, and those that `overdue` says will soon be.
pub fn zones(
    nodes: &[Arc<Node>],
    config: &NodeConfig,
    overdue: impl Fn(&Node) -> bool,
) -> BTreeMap<String, ZoneState> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for node in nodes
        .iter()
        .filter(|node| node.metadata.label(EXCLUDED).is_none())
    {
        let (all, lost) = counts.entry(zone_of(node)).or_default();
        *all += 1;
        *lost += usize::from(ready(node).is_none_or(|ready| ready.status != "True") || overdue(node));
    }
    counts
        .into_iter()
        .map(|(zone, (all, lost))| (zone, state(all, lost, config)))
        .collect()
}

fn state(all: usize, lost: usize, config: &NodeConfig) -> ZoneState {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of node counts needs no exactness"
    )]
    let share = lost as f64 / all.max(1) as f64;
    if lost > 0 && lost == all {
        ZoneState::FullDisruption
    } else if lost > 2 && share >= config.unhealthy_zone_threshold {
        let large = all > config.large_cluster_size_threshold;
        ZoneState::PartialDisruption { large }
    } else {
        ZoneState::Normal
    }
}
