//! A pod as the scheduler sees it: everything compiled that its decisions read.

mod affinity;
mod spread;

pub use affinity::{AffinityTerm, PodAffinity};
pub use spread::{NodePolicy, SpreadConstraint};

use crate::resources::{Amounts, Scalars, pod_requests};
use crate::selector::{Labels, NodeTerm, NodeTerms, Selector};
use crate::taints::Tolerations;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use std::collections::BTreeSet;

/// Immutable once made; shared by the queue and the cluster.
#[derive(Debug, Clone, Default)]
pub struct PodInfo {
    /// `namespace/name`.
    pub key: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// 0 when the API server gave none that is a number.
    pub resource_version: u64,
    pub labels: Labels,
    pub priority: i32,
    /// `preemptionPolicy: Never`.
    pub never_preempts: bool,
    pub scheduler_name: String,
    /// Empty when not bound.
    pub node_name: String,
    /// Empty when none.
    pub nominated_node: String,
    pub terminating: bool,
    /// Succeeded or failed: it uses nothing any more.
    pub finished: bool,
    /// Names of its scheduling gates.
    pub gates: Vec<String>,
    pub created_second: i64,
    pub requests: Amounts,
    pub scalars: Scalars,
    /// Requests with defaults for containers that ask for nothing, for scores.
    pub score_requests: Amounts,
    pub host_ports: Vec<HostPort>,
    pub tolerations: Tolerations,
    pub node_selector: Selector,
    pub required_nodes: Option<NodeTerms>,
    pub preferred_nodes: Vec<(i32, NodeTerm)>,
    pub affinity: PodAffinity,
    pub spread: Vec<SpreadConstraint>,
    pub images: Vec<String>,
    /// Names of the claims that its volumes use, in order.
    pub claims: Vec<String>,
    pub controller: Option<OwnerReference>,
}

/// A port on the node itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// `0.0.0.0` for every address.
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Whether both can't be used on one node (upstream: `framework.HostPortInfo.CheckConflict`).
    pub fn conflicts(&self, other: &Self) -> bool {
        const ANY: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == ANY || other.ip == ANY)
    }
}

impl PodInfo {
    pub fn new(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = meta.name.clone().unwrap_or_default();
        let labels = meta.labels.clone().unwrap_or_default();
        let status = pod.status.as_ref();
        let phase = status
            .and_then(|status| status.phase.as_deref())
            .unwrap_or_default();
        let mut info = Self {
            key: format!("{namespace}/{name}"),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta
                .resource_version
                .as_deref()
                .and_then(|version| version.parse().ok())
                .unwrap_or(0),
            terminating: meta.deletion_timestamp.is_some(),
            finished: matches!(phase, "Succeeded" | "Failed"),
            created_second: meta
                .creation_timestamp
                .as_ref()
                .map_or(0, |time| time.0.as_second()),
            nominated_node: status
                .and_then(|status| status.nominated_node_name.clone())
                .unwrap_or_default(),
            controller: meta
                .owner_references
                .iter()
                .flatten()
                .find(|owner| owner.controller == Some(true))
                .cloned(),
            namespace,
            name,
            labels,
            ..Self::default()
        };
        if let Some(spec) = &pod.spec {
            info.read_spec(spec);
        }
        info
    }

    fn read_spec(&mut self, spec: &PodSpec) {
        let (requests, score_requests) = pod_requests(spec);
        self.requests = requests.amounts;
        self.scalars = requests.scalars;
        self.scalars.retain(|_, amount| *amount > 0);
        self.score_requests = score_requests;
        self.priority = spec.priority.unwrap_or(0);
        self.never_preempts = spec.preemption_policy.as_deref() == Some("Never");
        self.scheduler_name = spec
            .scheduler_name
            .clone()
            .unwrap_or_else(|| "default-scheduler".to_owned());
        self.node_name = spec.node_name.clone().unwrap_or_default();
        self.gates = spec
            .scheduling_gates
            .iter()
            .flatten()
            .map(|gate| gate.name.clone())
            .collect();
        self.host_ports = host_ports(spec);
        self.tolerations = Tolerations::compile(spec.tolerations.as_deref().unwrap_or_default());
        self.node_selector = Selector::from_labels(spec.node_selector.iter().flatten());
        let affinity = spec.affinity.as_ref();
        if let Some(node) = affinity.and_then(|affinity| affinity.node_affinity.as_ref()) {
            self.required_nodes = node
                .required_during_scheduling_ignored_during_execution
                .as_ref()
                .map(|required| NodeTerms::compile(&required.node_selector_terms));
            self.preferred_nodes = node
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
                .map(|preferred| (preferred.weight, NodeTerm::compile(&preferred.preference)))
                .collect();
        }
        if let Some(affinity) = affinity {
            self.affinity = PodAffinity::compile(affinity, &self.namespace, &self.labels);
        }
        self.spread = spec
            .topology_spread_constraints
            .iter()
            .flatten()
            .map(|constraint| SpreadConstraint::compile(constraint, &self.labels))
            .collect();
        self.images = spec
            .containers
            .iter()
            .filter_map(|container| container.image.as_deref().map(normalized_image))
            .collect();
        self.claims = claims(spec, &self.name);
    }

    /// Whether the pod may run on a node with this name and these labels.
    pub fn selects_node(&self, name: &str, labels: &Labels) -> bool {
        self.node_selector.matches(labels)
            && self
                .required_nodes
                .as_ref()
                .is_none_or(|terms| terms.matches(name, labels))
    }

    /// Whether it holds resources of the node it's bound to.
    pub fn uses_node(&self) -> bool {
        !self.finished && !self.node_name.is_empty()
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let mut ports: BTreeSet<HostPort> = BTreeSet::new();
    for port in spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
    {
        let Some(number) = port.host_port.filter(|&number| number > 0) else {
            continue;
        };
        ports.insert(HostPort {
            ip: port
                .host_ip
                .clone()
                .filter(|ip| !ip.is_empty())
                .unwrap_or_else(|| "0.0.0.0".to_owned()),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: number,
        });
    }
    ports.into_iter().collect()
}

fn claims(spec: &PodSpec, pod_name: &str) -> Vec<String> {
    let mut claims = Vec::new();
    for volume in spec.volumes.iter().flatten() {
        if let Some(claim) = &volume.persistent_volume_claim {
            claims.push(claim.claim_name.clone());
        } else if volume.ephemeral.is_some() {
            claims.push(format!("{pod_name}-{}", volume.name));
        }
    }
    claims
}

/// As nodes list images: with a tag (upstream: `imagelocality.normalizedImageName`).
fn normalized_image(image: &str) -> String {
    let last_part = image.rsplit('/').next().unwrap_or(image);
    if last_part.contains(':') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}
