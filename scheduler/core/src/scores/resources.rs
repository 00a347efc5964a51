//! NodeResourcesFit (LeastAllocated) and NodeResourcesBalancedAllocation, both over cpu and memory.

use super::MAX_SCORE;
use crate::cluster::{Cluster, NodeSlot};
use crate::pod_info::PodInfo;

/// The more is left, the better.
pub(super) fn least_allocated(cluster: &Cluster, slot: NodeSlot, pod: &PodInfo) -> i64 {
    let (has, used, asks) = (
        &cluster.allocatable[slot],
        &cluster.score_requested[slot],
        &pod.score_requests,
    );
    let free = |has: i64, used: i64| {
        if has == 0 || used > has {
            0
        } else {
            match (has - used).checked_mul(MAX_SCORE) {
                Some(scaled) => scaled / has,
                // More than 80 petabytes.
                None => (has - used) / (has / MAX_SCORE),
            }
        }
    };
    let cpu = free(has.milli_cpu, used.milli_cpu.saturating_add(asks.milli_cpu));
    let memory = free(has.memory, used.memory.saturating_add(asks.memory));
    i64::midpoint(cpu, memory)
}

/// The closer the used fractions are to each other, the better; no opinion on a pod that asks for nothing.
pub(super) fn balanced(cluster: &Cluster, slot: NodeSlot, pod: &PodInfo) -> i64 {
    if pod.requests.milli_cpu == 0 && pod.requests.memory == 0 {
        return 0;
    }
    let (has, used) = (&cluster.allocatable[slot], &cluster.requested[slot]);
    let fraction = |has: i64, used: i64| {
        if has == 0 {
            1.0
        } else {
            (used as f64 / has as f64).min(1.0)
        }
    };
    let cpu = fraction(has.milli_cpu, used.milli_cpu + pod.requests.milli_cpu);
    let memory = fraction(has.memory, used.memory + pod.requests.memory);
    // The standard deviation of two numbers is half their distance.
    ((1.0 - (cpu - memory).abs() / 2.0) * MAX_SCORE as f64) as i64
}
