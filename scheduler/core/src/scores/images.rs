//! ImageLocality: a node that has the images already starts the pod sooner.
//!
//! Follows upstream's `imagelocality/image_locality.go`, thresholds included.

use super::MAX_SCORE;
use crate::cluster::{Cluster, NodeSlot};
use crate::pod_info::PodInfo;

const LEAST: i64 = 23 << 20;
const MOST_PER_CONTAINER: i64 = 1000 << 20;

pub(super) fn locality(cluster: &Cluster, slot: NodeSlot, pod: &PodInfo) -> i64 {
    let Some(info) = &cluster.nodes[slot].info else {
        return 0;
    };
    if info.images.is_empty() || pod.images.is_empty() {
        return 0;
    }
    let nodes = i64::try_from(cluster.node_count()).unwrap_or(i64::MAX).max(1);
    let present: i64 = pod
        .images
        .iter()
        .filter_map(|image| {
            let size = info.images.get(image)?;
            // An image that few nodes have counts little, or everything would pile up there.
            let spread = i64::try_from(cluster.image_spread(image)).unwrap_or(0);
            Some(i64::try_from(i128::from(*size) * i128::from(spread) / i128::from(nodes)).unwrap_or(0))
        })
        .sum();
    let most = MOST_PER_CONTAINER.saturating_mul(i64::try_from(pod.images.len()).unwrap_or(1));
    MAX_SCORE * (present.clamp(LEAST, most) - LEAST) / (most - LEAST)
}
