//! A node as the scheduler sees it.

use crate::resources::{Amounts, Resources, Scalars};
use crate::selector::Labels;
use k8s_openapi::api::core::v1::{Node, Taint};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeInfo {
    pub labels: Labels,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Amounts,
    pub scalars: Scalars,
    /// Sizes in bytes by name.
    pub images: BTreeMap<String, i64>,
}

impl NodeInfo {
    pub fn new(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let resources = Resources::from_list(status.and_then(|status| status.allocatable.as_ref()));
        let mut images = BTreeMap::new();
        for image in status
            .and_then(|status| status.images.as_ref())
            .into_iter()
            .flatten()
        {
            for name in image.names.iter().flatten() {
                images.insert(name.clone(), image.size_bytes.unwrap_or(0));
            }
        }
        Self {
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            allocatable: resources.amounts,
            scalars: resources.scalars,
            images,
        }
    }
}
