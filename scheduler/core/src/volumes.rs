//! VolumeBinding: claims, volumes and classes, and what they say about nodes.
//!
//! Follows upstream's `volumebinding/binder.go`: bound claims restrict nodes, unbound ones that wait for their first
//! consumer are matched to a volume or provisioned on the chosen node, all others must be bound before.

use crate::cluster::NodeInfo;
use crate::diagnosis::Reason;
use crate::pod_info::PodInfo;
use crate::selector::{Labels, NodeTerms, Selector};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use std::collections::BTreeMap;

/// Everything about volumes that scheduling reads, by key.
#[derive(Debug, Default)]
pub struct Volumes {
    pub claims: BTreeMap<String, Claim>,
    pub volumes: BTreeMap<String, Volume>,
    pub classes: BTreeMap<String, Class>,
}

#[derive(Debug, Clone, Default)]
pub struct Claim {
    volume: String,
    class: String,
    bound: bool,
    lost: bool,
    terminating: bool,
    size: i64,
    modes: Vec<String>,
    selector: Option<Selector>,
}

#[derive(Debug, Clone, Default)]
pub struct Volume {
    class: String,
    size: i64,
    modes: Vec<String>,
    labels: Labels,
    nodes: Option<NodeTerms>,
    /// `namespace/name` of the claim it's for, bound or reserved.
    claim: String,
    available: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Class {
    waits_for_consumer: bool,
    provisions: bool,
}

/// What a decision means for the claims of a pod: to be written before it's bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeAction {
    /// Reserve the volume for the claim (`spec.claimRef`).
    Reserve { claim: String, volume: String },
    /// Ask for a volume on the node (annotation `volume.kubernetes.io/selected-node`).
    Provision { claim: String },
}

impl Claim {
    pub fn new(claim: &PersistentVolumeClaim) -> Self {
        let spec = claim.spec.clone().unwrap_or_default();
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        let completed = claim
            .metadata
            .annotations
            .iter()
            .flatten()
            .any(|(key, _)| key == "pv.kubernetes.io/bind-completed");
        let volume = spec.volume_name.unwrap_or_default();
        Self {
            bound: !volume.is_empty() && (completed || phase == Some("Bound")),
            lost: phase == Some("Lost"),
            terminating: claim.metadata.deletion_timestamp.is_some(),
            volume,
            class: spec.storage_class_name.unwrap_or_default(),
            size: size(spec.resources.and_then(|resources| resources.requests).as_ref()),
            modes: spec.access_modes.unwrap_or_default(),
            selector: spec.selector.as_ref().map(Selector::from_label_selector),
        }
    }

    pub fn is_bound(&self) -> bool {
        self.bound
    }
}

impl Volume {
    pub fn new(volume: &PersistentVolume) -> Self {
        let spec = volume.spec.clone().unwrap_or_default();
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        Self {
            class: spec.storage_class_name.unwrap_or_default(),
            size: size(spec.capacity.as_ref()),
            modes: spec.access_modes.unwrap_or_default(),
            labels: volume.metadata.labels.clone().unwrap_or_default(),
            nodes: spec
                .node_affinity
                .and_then(|affinity| affinity.required)
                .map(|required| NodeTerms::compile(&required.node_selector_terms)),
            claim: spec
                .claim_ref
                .map(|claim| {
                    format!(
                        "{}/{}",
                        claim.namespace.unwrap_or_default(),
                        claim.name.unwrap_or_default()
                    )
                })
                .unwrap_or_default(),
            available: volume.metadata.deletion_timestamp.is_none()
                && matches!(phase, None | Some("Available" | "Pending")),
        }
    }

    fn fits(&self, key: &str, claim: &Claim) -> bool {
        self.available
            && (self.claim.is_empty() || self.claim == key)
            && self.class == claim.class
            && self.size >= claim.size
            && claim.modes.iter().all(|mode| self.modes.contains(mode))
            && claim
                .selector
                .as_ref()
                .is_none_or(|selector| selector.matches(&self.labels))
    }

    fn reaches(&self, name: &str, labels: &Labels) -> bool {
        self.nodes
            .as_ref()
            .is_none_or(|terms| terms.matches(name, labels))
    }
}

impl Class {
    pub fn new(class: &StorageClass) -> Self {
        Self {
            waits_for_consumer: class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            provisions: !class.provisioner.is_empty() && class.provisioner != "kubernetes.io/no-provisioner",
        }
    }
}

fn size(list: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>) -> i64 {
    list.and_then(|list| list.get("storage"))
        .map_or(0, |quantity| quantity::whole(&quantity.0))
}

/// The claims of one pod, looked up once.
#[derive(Debug, Default)]
pub(crate) struct VolumeNeeds<'a> {
    bound: Vec<&'a Volume>,
    unbound: Vec<(String, &'a Claim, bool)>,
    all: Option<&'a Volumes>,
}

impl Volumes {
    /// # Errors
    /// What about the pod's claims prevents scheduling on any node.
    pub(crate) fn needs(&self, pod: &PodInfo) -> Result<VolumeNeeds<'_>, String> {
        let mut needs = VolumeNeeds {
            all: Some(self),
            ..VolumeNeeds::default()
        };
        for name in &pod.claims {
            let key = format!("{}/{name}", pod.namespace);
            let Some(claim) = self.claims.get(&key) else {
                return Err(format!("persistentvolumeclaim \"{name}\" not found"));
            };
            if claim.lost {
                return Err(format!(
                    "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{}\"",
                    claim.volume
                ));
            }
            if claim.terminating {
                return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
            }
            if claim.bound {
                match self.volumes.get(&claim.volume) {
                    Some(volume) => needs.bound.push(volume),
                    None => return Err(format!("persistentvolume \"{}\" not found", claim.volume)),
                }
                continue;
            }
            match self.classes.get(&claim.class) {
                Some(class) if class.waits_for_consumer => {
                    needs.unbound.push((key, claim, class.provisions));
                }
                _ => return Err("pod has unbound immediate PersistentVolumeClaims".to_owned()),
            }
        }
        Ok(needs)
    }

    /// What must be written before `pod` is bound to `node`; empty when its claims are all bound.
    pub fn actions(&self, pod: &PodInfo, node: &str, info: &NodeInfo) -> Vec<VolumeAction> {
        self.needs(pod)
            .ok()
            .and_then(|needs| needs.plan(node, info))
            .unwrap_or_default()
    }

    /// Whether every claim of the pod is bound.
    pub fn are_bound(&self, pod: &PodInfo) -> bool {
        pod.claims.iter().all(|name| {
            self.claims
                .get(&format!("{}/{name}", pod.namespace))
                .is_some_and(Claim::is_bound)
        })
    }
}

impl VolumeNeeds<'_> {
    pub(crate) fn check(&self, name: &str, node: &NodeInfo) -> Result<(), Reason> {
        if !self.bound.iter().all(|volume| volume.reaches(name, &node.labels)) {
            return Err(Reason::VolumeNodeAffinity);
        }
        if self.unbound.is_empty() || self.plan(name, node).is_some() {
            return Ok(());
        }
        Err(Reason::NoVolume)
    }

    /// The smallest fitting volume for each claim, or a new one; `None` when the node can have neither.
    fn plan(&self, name: &str, node: &NodeInfo) -> Option<Vec<VolumeAction>> {
        let mut actions = Vec::new();
        let mut taken: Vec<&str> = Vec::new();
        for (key, claim, provisions) in &self.unbound {
            let found = self
                .all
                .into_iter()
                .flat_map(|all| &all.volumes)
                .filter(|(volume_name, volume)| {
                    volume.fits(key, claim)
                        && volume.reaches(name, &node.labels)
                        && !taken.contains(&volume_name.as_str())
                })
                // One reserved for the claim already, then the smallest.
                .min_by_key(|(_, volume)| (volume.claim.is_empty(), volume.size));
            match found {
                Some((volume, _)) => {
                    taken.push(volume);
                    actions.push(VolumeAction::Reserve {
                        claim: key.clone(),
                        volume: volume.clone(),
                    });
                }
                None if *provisions => actions.push(VolumeAction::Provision { claim: key.clone() }),
                None => return None,
            }
        }
        Some(actions)
    }
}
