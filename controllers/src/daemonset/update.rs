//! RollingUpdate of a DaemonSet: a few nodes at a time.
//! Source: `pkg/controller/daemon/update.go` `rollingUpdate` (1.36).

use super::plan::{Observed, OnNode};
use crate::history::REVISION_HASH;
use crate::object::MetaView;
use crate::pod_state;
use crate::proportion::{Round, scaled};
use k8s_openapi::api::apps::v1::DaemonSetSpec;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;

#[derive(Default)]
pub struct Step<'a> {
    /// Names of nodes that get a second pod.
    pub create: Vec<&'a str>,
    pub delete: Vec<&'a Arc<Pod>>,
}

pub fn step<'a>(observed: &Observed, spec: &DaemonSetSpec, here: &[OnNode<'a>], hash: &str) -> Step<'a> {
    let strategy = spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return Step::default();
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let wanted = here.iter().filter(|on_node| on_node.placement.starts).count();
    let total = i32::try_from(wanted).unwrap_or(i32::MAX);
    let limit = |value: Option<&IntOrString>, otherwise| {
        let scaled = value.map_or(Some(otherwise), |value| scaled(value, total, Round::Up));
        usize::try_from(scaled.unwrap_or(otherwise)).unwrap_or(0)
    };
    let max_surge = limit(rolling.and_then(|rolling| rolling.max_surge.as_ref()), 0);
    let max_unavailable = limit(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), 1);
    let max_unavailable = if max_surge == 0 {
        max_unavailable.max(1)
    } else {
        max_unavailable
    };
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let is_up = |pod: &Pod| pod_state::is_available(pod, min_ready, observed.now);
    let mut step = Step::default();
    let mut unavailable = 0;
    let mut surging = 0;
    let mut candidates: Vec<(&OnNode<'a>, &'a Arc<Pod>)> = Vec::new();
    for on_node in here.iter().filter(|on_node| on_node.placement.stays) {
        let present = || on_node.pods.iter().filter(|pod| !pod.metadata.is_terminating());
        let is_new = |pod: &&&Arc<Pod>| pod.metadata.label(REVISION_HASH) == Some(hash);
        let new = present().find(is_new);
        let old = present().find(|pod| !is_new(pod));
        match (old, new) {
            (None, new) => unavailable += usize::from(!new.is_some_and(|pod| is_up(pod))),
            (Some(old), Some(new)) => {
                // The second pod of a surge: the first goes once the second works, or if it never did itself.
                if is_up(new) || !is_up(old) {
                    step.delete.push(old);
                } else {
                    surging += 1;
                }
            }
            (Some(old), None) if is_up(old) => candidates.push((on_node, old)),
            (Some(old), None) => {
                // It doesn't work anyway: replacing it costs nothing.
                unavailable += 1;
                if max_surge > 0 {
                    surging += 1;
                    step.create.push(on_node.node);
                } else {
                    step.delete.push(old);
                }
            }
        }
    }
    if max_surge > 0 {
        let room = max_surge.saturating_sub(surging);
        step.create
            .extend(candidates.iter().take(room).map(|(on_node, _)| on_node.node));
    } else {
        let room = max_unavailable.saturating_sub(unavailable);
        step.delete
            .extend(candidates.into_iter().take(room).map(|(_, old)| old));
    }
    step
}
