//! The node's last word on a pod that was bound to it: whether there is room.
//!
//! The scheduler decides on what it knows; two schedulers, or a stale one, may decide too much. Follows
//! kubelet `pkg/kubelet/lifecycle/predicate.go`.

use crate::container::together;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use quantity::{milli, whole};
use std::collections::BTreeMap;

/// Reads a quantity in the unit that it is counted in.
type Unit = fn(&str) -> i64;

/// (reason, message) when the pod must be refused. `others`: pods here that have not ended.
pub fn rejection<'a>(
    pod: &Pod,
    others: impl Iterator<Item = &'a Pod> + Clone,
    allocatable: &BTreeMap<String, Quantity>,
) -> Option<(String, String)> {
    let room = |name: &str, unit: Unit| allocatable.get(name).map_or(i64::MAX, |room| unit(&room.0));
    let refuse = |name: &str, wanted: i64, used: i64, capacity: i64| {
        let message = format!(
            "Pod was rejected: Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, \
             capacity: {capacity}"
        );
        Some((format!("OutOf{name}"), message))
    };
    let count = i64::try_from(others.clone().count()).unwrap_or(i64::MAX);
    if count >= room("pods", whole) {
        return refuse("pods", 1, count, room("pods", whole));
    }
    let units: [(&str, Unit); 2] = [("cpu", milli), ("memory", whole)];
    for (name, unit) in units {
        let wanted = requests(pod, name, unit);
        let used = together(others.clone().map(|other| requests(other, name, unit)));
        let capacity = room(name, unit);
        if wanted > 0 && used.saturating_add(wanted) > capacity {
            return refuse(name, wanted, used, capacity);
        }
    }
    let taken: Vec<_> = others.flat_map(host_ports).collect();
    let clash = host_ports(pod).into_iter().any(|(port, protocol, ip)| {
        taken.iter().any(|(p, proto, other)| {
            *p == port && *proto == protocol && (*other == ip || other == "0.0.0.0" || ip == "0.0.0.0")
        })
    });
    clash.then(|| {
        let message = "Pod was rejected: node(s) didn't have free ports for the requested pod ports";
        ("NodePorts".to_owned(), message.to_owned())
    })
}

/// What the scheduler counts: containers and sidecars together, or the largest init container.
fn requests(pod: &Pod, resource: &str, unit: Unit) -> i64 {
    let Some(spec) = &pod.spec else { return 0 };
    let of = |c: &Container| {
        let requests = c.resources.as_ref().and_then(|r| r.requests.as_ref());
        requests
            .and_then(|r| r.get(resource))
            .map_or(0, |request| unit(&request.0))
    };
    let mut sidecars = 0_i64;
    let mut peak = 0_i64;
    for init in spec.init_containers.iter().flatten() {
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = of(init).saturating_add(sidecars);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(of(init).saturating_add(sidecars));
        }
    }
    let running = together(spec.containers.iter().map(of)).saturating_add(sidecars);
    let overhead = spec
        .overhead
        .as_ref()
        .and_then(|o| o.get(resource))
        .map_or(0, |overhead| unit(&overhead.0));
    running.max(peak).saturating_add(overhead)
}

fn host_ports(pod: &Pod) -> Vec<(i32, String, String)> {
    let containers = pod.spec.iter().flat_map(|s| {
        let inits = s.init_containers.iter().flatten();
        s.containers
            .iter()
            .chain(inits.filter(|c| c.restart_policy.as_deref() == Some("Always")))
    });
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|p| {
            let port = p.host_port.filter(|port| *port > 0)?;
            let protocol = p.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let ip = p.host_ip.clone().filter(|ip| !ip.is_empty());
            Some((port, protocol, ip.unwrap_or_else(|| "0.0.0.0".to_owned())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::rejection;
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn pod(container: &Value) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": [container]}})).expect("a pod")
    }

    #[test]
    fn a_pod_without_room_is_refused_with_the_resource_that_lacks() {
        let allocatable: BTreeMap<String, Quantity> = [("cpu", "1"), ("pods", "3")]
            .map(|(k, v)| (k.to_owned(), Quantity(v.to_owned())))
            .into();
        let large = pod(&json!({"name": "c", "resources": {"requests": {"cpu": "600m"}}}));
        let port = pod(&json!({"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}));
        let reason = |pod: &Pod, others: &[&Pod]| {
            rejection(pod, others.iter().copied(), &allocatable).map(|(reason, _)| reason)
        };
        assert_eq!(reason(&large, &[]), None);
        assert_eq!(reason(&large, &[&large]).as_deref(), Some("OutOfcpu"));
        assert_eq!(reason(&port, &[&large]), None);
        assert_eq!(reason(&port, &[&large, &port]).as_deref(), Some("NodePorts"));
        assert_eq!(
            reason(&port, &[&large, &large, &large]).as_deref(),
            Some("OutOfpods")
        );
    }

    #[test]
    fn absurd_requests_are_refused_like_any_that_are_too_large() {
        let allocatable = BTreeMap::from([("memory".to_owned(), Quantity("1Gi".to_owned()))]);
        let absurd = json!({"name": "c", "resources": {"requests": {"memory": "9E"}}});
        let absurd =
            serde_json::from_value(json!({"spec": {"containers": [absurd, absurd]}})).expect("a pod");
        let (reason, message) =
            rejection(&absurd, std::iter::once(&absurd), &allocatable).expect("a refusal");
        assert_eq!(reason, "OutOfmemory");
        assert!(message.contains("requested: 9223372036854775807"), "{message}");
    }
}
