//! Amounts of resources: what nodes have and pods ask for.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// What a container without a request counts as when nodes are compared (upstream:
/// `scheduler/util/pod_resources.go`).
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 << 20;

/// The resources that every node has, in one cache line with a neighbour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    pub milli_cpu: i64,
    pub memory: i64,
    pub ephemeral_storage: i64,
    pub pods: i64,
}

impl Amounts {
    pub fn add(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.saturating_add(other.milli_cpu);
        self.memory = self.memory.saturating_add(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.saturating_add(other.ephemeral_storage);
        self.pods = self.pods.saturating_add(other.pods);
    }

    pub fn subtract(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.saturating_sub(other.milli_cpu);
        self.memory = self.memory.saturating_sub(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.saturating_sub(other.ephemeral_storage);
        self.pods = self.pods.saturating_sub(other.pods);
    }

    fn max(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.max(other.ephemeral_storage);
        self.pods = self.pods.max(other.pods);
    }
}

/// Extended resources and huge pages by name; empty for almost every pod.
pub type Scalars = BTreeMap<String, i64>;

/// Common and extended resources together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    pub amounts: Amounts,
    pub scalars: Scalars,
}

impl Resources {
    /// Reads a resource list; what doesn't parse counts as absent.
    pub fn from_list(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            let text = quantity.0.as_str();
            let amounts = &mut resources.amounts;
            match name.as_str() {
                "cpu" => amounts.milli_cpu = quantity::milli(text),
                "memory" => amounts.memory = quantity::whole(text),
                "ephemeral-storage" => amounts.ephemeral_storage = quantity::whole(text),
                "pods" => amounts.pods = quantity::whole(text),
                _ => {
                    resources.scalars.insert(name.clone(), quantity::whole(text));
                }
            }
        }
        resources
    }

    fn add(&mut self, other: &Self) {
        self.amounts.add(&other.amounts);
        for (name, amount) in &other.scalars {
            let sum = self.scalars.entry(name.clone()).or_insert(0);
            *sum = sum.saturating_add(*amount);
        }
    }

    fn max(&mut self, other: &Self) {
        self.amounts.max(&other.amounts);
        for (name, amount) in &other.scalars {
            let most = self.scalars.entry(name.clone()).or_insert(0);
            *most = (*most).max(*amount);
        }
    }
}

/// What a pod asks for, and the same with defaults for containers that ask for nothing.
///
/// Follows `component-helpers/resource/helpers.go`, `PodRequests`: containers run together, init containers one
/// after another beside the sidecars that started before them.
pub fn pod_requests(spec: &PodSpec) -> (Resources, Amounts) {
    let exact = total(spec, |container| Resources::from_list(requests(container)));
    let defaulted = total(spec, |container| {
        let list = requests(container);
        let mut resources = Resources::from_list(list);
        let asks = |name: &str| list.is_some_and(|list| list.contains_key(name));
        if !asks("cpu") {
            resources.amounts.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !asks("memory") {
            resources.amounts.memory = DEFAULT_MEMORY;
        }
        resources
    });
    (exact, defaulted.amounts)
}

fn requests(container: &Container) -> Option<&BTreeMap<String, Quantity>> {
    container.resources.as_ref()?.requests.as_ref()
}

fn total(spec: &PodSpec, of: impl Fn(&Container) -> Resources) -> Resources {
    let mut sum = Resources::default();
    for container in &spec.containers {
        sum.add(&of(container));
    }
    let mut sidecars = Resources::default();
    let mut most = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut peak = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sum.add(&peak);
            sidecars.add(&peak);
            peak = sidecars.clone();
        } else {
            peak.add(&sidecars);
        }
        most.max(&peak);
    }
    sum.max(&most);
    // Requests of the pod as a whole replace the sum of its containers'.
    if let Some(pod) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        let pod_level = Resources::from_list(Some(pod));
        if pod.contains_key("cpu") {
            sum.amounts.milli_cpu = pod_level.amounts.milli_cpu;
        }
        if pod.contains_key("memory") {
            sum.amounts.memory = pod_level.amounts.memory;
        }
        sum.scalars.extend(pod_level.scalars);
    }
    sum.add(&Resources::from_list(spec.overhead.as_ref()));
    sum.amounts.pods = 1;
    sum
}

#[cfg(test)]
mod tests {
    use super::pod_requests;
    use serde_json::json;

    #[test]
    fn a_pod_asks_for_its_containers_or_its_largest_moment_of_starting() {
        let spec = serde_json::from_value(json!({
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "big", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "300m", "example.com/gpu": "2"}}},
                {"name": "b"}],
            "overhead": {"cpu": "10m"}
        }))
        .expect("a pod spec");
        let (exact, defaulted) = pod_requests(&spec);
        // The big init container beside the sidecar: 1100m, more than 400m of the containers.
        assert_eq!(exact.amounts.milli_cpu, 1110);
        assert_eq!(exact.amounts.memory, 1 << 30);
        assert_eq!(exact.amounts.pods, 1);
        assert_eq!(exact.scalars["example.com/gpu"], 2);
        assert_eq!(defaulted.memory, (1 << 30) + (200 << 20));
    }
}
