//! Why a pod fits nowhere: counted for people, and as plugin names for the queue.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The plugins that can refuse a node, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plugins(u32);

impl Plugins {
    pub const NODE_NAME: Self = Self(1);
    pub const NODE_UNSCHEDULABLE: Self = Self(1 << 1);
    pub const TAINT_TOLERATION: Self = Self(1 << 2);
    pub const NODE_AFFINITY: Self = Self(1 << 3);
    pub const NODE_PORTS: Self = Self(1 << 4);
    pub const NODE_RESOURCES_FIT: Self = Self(1 << 5);
    pub const POD_TOPOLOGY_SPREAD: Self = Self(1 << 6);
    pub const INTER_POD_AFFINITY: Self = Self(1 << 7);
    pub const VOLUME_BINDING: Self = Self(1 << 8);
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(u32::MAX);

    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn bits(self) -> impl Iterator<Item = usize> {
        (0..32).filter(move |bit| self.0 & (1 << bit) != 0)
    }
}

/// Why one node was refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    NodeName,
    Unschedulable,
    Taint {
        key: String,
        value: String,
    },
    NodeAffinity,
    Ports,
    /// Every resource that doesn't fit; `larger_than_node` when some never can.
    Insufficient {
        resources: Vec<String>,
        larger_than_node: bool,
    },
    Spread,
    SpreadMissingLabel,
    Affinity,
    AntiAffinity,
    ExistingAntiAffinity,
    VolumeNodeAffinity,
    NoVolume,
    /// Left out by the named plugin before any node was looked at.
    Preselected(&'static str),
}

impl Reason {
    pub fn plugin(&self) -> Plugins {
        match self {
            Self::NodeName => Plugins::NODE_NAME,
            Self::Unschedulable => Plugins::NODE_UNSCHEDULABLE,
            Self::Taint { .. } => Plugins::TAINT_TOLERATION,
            Self::NodeAffinity | Self::Preselected(_) => Plugins::NODE_AFFINITY,
            Self::Ports => Plugins::NODE_PORTS,
            Self::Insufficient { .. } => Plugins::NODE_RESOURCES_FIT,
            Self::Spread | Self::SpreadMissingLabel => Plugins::POD_TOPOLOGY_SPREAD,
            Self::Affinity | Self::AntiAffinity | Self::ExistingAntiAffinity => Plugins::INTER_POD_AFFINITY,
            Self::VolumeNodeAffinity | Self::NoVolume => Plugins::VOLUME_BINDING,
        }
    }

    /// Whether removing pods from the node could help.
    pub fn is_resolvable(&self) -> bool {
        match self {
            Self::Ports | Self::Spread | Self::AntiAffinity | Self::ExistingAntiAffinity => true,
            Self::Insufficient { larger_than_node, .. } => !larger_than_node,
            _ => false,
        }
    }

    /// The texts of upstream's plugins.
    fn texts(&self, into: &mut Vec<String>) {
        let text = match self {
            Self::NodeName => "node(s) didn't match the requested node name",
            Self::Unschedulable => "node(s) were unschedulable",
            Self::Taint { key, value } => {
                into.push(format!("node(s) had untolerated taint {{{key}: {value}}}"));
                return;
            }
            Self::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
            Self::Ports => "node(s) didn't have free ports for the requested pod ports",
            Self::Insufficient { resources, .. } => {
                into.extend(resources.iter().map(|name| match name.as_str() {
                    "pods" => "Too many pods".to_owned(),
                    name => format!("Insufficient {name}"),
                }));
                return;
            }
            Self::Spread => "node(s) didn't match pod topology spread constraints",
            Self::SpreadMissingLabel => {
                "node(s) didn't match pod topology spread constraints (missing required label)"
            }
            Self::Affinity => "node(s) didn't match pod affinity rules",
            Self::AntiAffinity => "node(s) didn't match pod anti-affinity rules",
            Self::ExistingAntiAffinity => "node(s) didn't satisfy existing pods anti-affinity rules",
            Self::VolumeNodeAffinity => "node(s) didn't match PersistentVolume's node affinity",
            Self::NoVolume => "node(s) didn't find available persistent volumes to bind",
            Self::Preselected(plugin) => {
                into.push(format!("node(s) didn't satisfy plugin(s) [{plugin}]"));
                return;
            }
        };
        into.push(text.to_owned());
    }
}

/// Why a pod can't be scheduled now.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    pub(crate) nodes: usize,
    pub(crate) refusals: BTreeMap<Reason, usize>,
    /// Set when the pod itself stands in the way, whatever the nodes.
    pub(crate) pod: Option<String>,
    plugins: Plugins,
}

impl Diagnosis {
    pub(crate) fn of_nodes(nodes: usize) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }

    pub(crate) fn of_pod(nodes: usize, message: String, plugin: Plugins) -> Self {
        Self {
            nodes,
            pod: Some(message),
            plugins: plugin,
            ..Self::default()
        }
    }

    pub(crate) fn refuse(&mut self, reason: Reason, count: usize) {
        if count > 0 {
            self.plugins = self.plugins.with(reason.plugin());
            *self.refusals.entry(reason).or_insert(0) += count;
        }
    }

    /// The plugins whose refusal must change before another attempt makes sense.
    pub fn plugins(&self) -> Plugins {
        if self.nodes == 0 {
            Plugins::ALL
        } else {
            self.plugins
        }
    }

    /// As upstream's preemption tells why it found nothing either; `candidates` of the nodes could have helped.
    pub fn preemption_message(&self, candidates: usize) -> String {
        if self.nodes == 0 {
            return String::new();
        }
        let mut parts = Vec::new();
        if candidates > 0 {
            parts.push(format!(
                "{candidates} No preemption victims found for incoming pod"
            ));
        }
        if self.nodes > candidates {
            let others = self.nodes - candidates;
            parts.push(format!("{others} Preemption is not helpful for scheduling"));
        }
        format!(
            " preemption: 0/{} nodes are available: {}.",
            self.nodes,
            parts.join(", ")
        )
    }

    /// As upstream's `framework.FitError`: `0/3 nodes are available: 1 node(s) …, 2 Insufficient cpu.`
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut message = format!("0/{} nodes are available: ", self.nodes);
        if let Some(pod) = &self.pod {
            message.push_str(pod);
            message.push('.');
            return message;
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut texts = Vec::new();
        for (reason, count) in &self.refusals {
            reason.texts(&mut texts);
            for text in texts.drain(..) {
                *counts.entry(text).or_insert(0) += count;
            }
        }
        let mut parts: Vec<String> = counts
            .iter()
            .map(|(text, count)| format!("{count} {text}"))
            .collect();
        parts.sort();
        let _ = write!(message, "{}.", parts.join(", "));
        message
    }
}
