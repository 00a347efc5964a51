//! Quality of service, cgroup limits and the order in which the kernel kills when memory runs out.
//!
//! Follows kubelet `pkg/apis/core/v1/helper/qos`, `pkg/kubelet/cm/helpers_linux.go`, `pkg/kubelet/qos/policy.go`.

use crate::runtime_spec::LinuxResources;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use quantity::{milli, whole};

const CPU_PERIOD_US: i64 = 100_000;
const MIN_QUOTA_US: i64 = 1_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// Where a pod's processes live in the cgroup tree: absolute paths, apart for every node of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodCgroups {
    /// `/<node>/kubepods[/burstable|/besteffort]`
    pub qos_parent: String,
    /// `<qos_parent>/pod<uid>`
    pub pod: String,
}

impl PodCgroups {
    pub fn new(cgroup_root: &str, class: QosClass, uid: &str) -> Self {
        let root = cgroup_root.trim_end_matches('/');
        let qos_parent = match class {
            QosClass::Guaranteed => format!("{root}/kubepods"),
            QosClass::Burstable => format!("{root}/kubepods/burstable"),
            QosClass::BestEffort => format!("{root}/kubepods/besteffort"),
        };
        let pod = format!("{qos_parent}/pod{uid}");
        Self { qos_parent, pod }
    }
}

/// The class follows from requests and limits of cpu and memory over all containers.
pub fn qos_class(pod: &Pod) -> QosClass {
    let Some(spec) = &pod.spec else {
        return QosClass::BestEffort;
    };
    let containers: Vec<&Container> = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .collect();
    let positive = |amount: Option<&str>| amount.is_some_and(|text| milli(text) > 0);
    let mut any = false;
    let mut guaranteed = true;
    for container in containers {
        for resource in ["cpu", "memory"] {
            let request = requested(container.resources.as_ref(), resource);
            let limit = limited(container.resources.as_ref(), resource);
            any |= positive(request) || positive(limit);
            // A limit without a request sets the request too.
            let equal = match (request, limit) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(r), Some(l)) => milli(r) == milli(l),
            };
            guaranteed &= equal && positive(limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

/// Limits of one container. `node_memory_bytes` scales the kill order of burstable pods.
pub(super) fn container_resources(
    container: &Container,
    class: QosClass,
    critical: bool,
    node_memory_bytes: i64,
) -> LinuxResources {
    let resources = container.resources.as_ref();
    let cpu_limit = limited(resources, "cpu").map_or(0, milli);
    let cpu_request = requested(resources, "cpu").map_or(cpu_limit, milli);
    let memory_limit = limited(resources, "memory").map_or(0, whole);
    let memory_request = requested(resources, "memory").map_or(memory_limit, whole);
    LinuxResources {
        cpu_shares: shares(cpu_request),
        cpu_quota_us: quota(cpu_limit),
        cpu_period_us: CPU_PERIOD_US,
        memory_limit_bytes: memory_limit,
        oom_score_adj: match class {
            _ if critical => -997,
            QosClass::Guaranteed => -997,
            QosClass::BestEffort => 1000,
            QosClass::Burstable => {
                let share = memory_request.saturating_mul(1000) / node_memory_bytes.max(1);
                1000_i64.saturating_sub(share).clamp(3, 999)
            }
        },
    }
}

/// Limits of the pod as a whole: sums over containers, and only where every container has the limit.
pub fn cgroup_resources(pod: &Pod) -> LinuxResources {
    let Some(spec) = &pod.spec else {
        return LinuxResources::default();
    };
    let sum = |value: &dyn Fn(&Container) -> i64| together(spec.containers.iter().map(value));
    let sidecars = |value: &dyn Fn(&Container) -> i64| {
        let all = spec.init_containers.iter().flatten();
        together(
            all.filter(|c| c.restart_policy.as_deref() == Some("Always"))
                .map(value),
        )
    };
    let peak = |value: &dyn Fn(&Container) -> i64| -> i64 {
        let all = spec.init_containers.iter().flatten();
        all.filter(|c| c.restart_policy.as_deref() != Some("Always"))
            .map(value)
            .max()
            .unwrap_or(0)
    };
    let total =
        |value: &dyn Fn(&Container) -> i64| sum(value).saturating_add(sidecars(value)).max(peak(value));
    let every = |resource: &str| {
        let mut all = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten());
        all.all(|c| limited(c.resources.as_ref(), resource).is_some())
    };
    let cpu_request = total(&|c| {
        let r = c.resources.as_ref();
        requested(r, "cpu").or_else(|| limited(r, "cpu")).map_or(0, milli)
    });
    let limit_of = |resource: &'static str, unit: fn(&str) -> i64| {
        if every(resource) {
            total(&|c| limited(c.resources.as_ref(), resource).map_or(0, unit))
        } else {
            0
        }
    };
    LinuxResources {
        cpu_shares: shares(cpu_request),
        cpu_quota_us: quota(limit_of("cpu", milli)),
        cpu_period_us: CPU_PERIOD_US,
        memory_limit_bytes: limit_of("memory", whole),
        oom_score_adj: 0,
    }
}

/// The sum of amounts; what is too much for one counts as the most there is.
pub(crate) fn together(amounts: impl Iterator<Item = i64>) -> i64 {
    amounts.fold(0, i64::saturating_add)
}

fn shares(milli_cpu: i64) -> i64 {
    (milli_cpu.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

fn quota(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 {
        return 0;
    }
    (milli_cpu.saturating_mul(CPU_PERIOD_US) / 1000).max(MIN_QUOTA_US)
}

pub(super) fn requested<'a>(resources: Option<&'a ResourceRequirements>, resource: &str) -> Option<&'a str> {
    Some(&resources?.requests.as_ref()?.get(resource)?.0)
}

pub(super) fn limited<'a>(resources: Option<&'a ResourceRequirements>, resource: &str) -> Option<&'a str> {
    Some(&resources?.limits.as_ref()?.get(resource)?.0)
}

#[cfg(test)]
mod tests {
    use super::{QosClass, cgroup_resources, container_resources};
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    #[test]
    fn absurd_amounts_count_as_the_most_there_is() {
        let amounts = json!({"cpu": "9E", "memory": "9E"});
        let resources = json!({"requests": amounts, "limits": amounts});
        let container = json!({"name": "c", "resources": resources});
        let pod: Pod =
            serde_json::from_value(json!({"spec": {"containers": [container, container]}})).expect("a pod");
        let whole = cgroup_resources(&pod);
        assert_eq!(whole.memory_limit_bytes, i64::MAX);
        assert_eq!(whole.cpu_shares, super::MAX_SHARES);
        let first = &pod.spec.as_ref().expect("a spec").containers[0];
        let first = container_resources(first, QosClass::Burstable, false, 1 << 30);
        assert_eq!(first.oom_score_adj, 3);
        assert!(first.cpu_quota_us > 0);
    }
}
