//! What every part of the agent shares.

use crate::NodeAgentConfig;
use crate::host::{HostFacts, NodeHost};
use crate::objects::Objects;
use crate::runtime::Runtime;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{Client, Resource as _};
use kubeclient::{EventKind, EventRecorder, Store};
use nodeagent_core::{ContainerKind, DnsSettings, NodeFacts, PodModel, StatusInputs};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use support::Env;
use tokio::sync::Semaphore;

/// Pulls at once: a registry and a disk serve few better than many.
const PARALLEL_PULLS: usize = 4;

pub(crate) struct Context {
    pub config: NodeAgentConfig,
    pub env: Env,
    pub runtime: Arc<dyn Runtime>,
    pub host: Arc<dyn NodeHost>,
    pub client: Client,
    pub recorder: EventRecorder,
    pub objects: Objects,
    pub services: Store<Service>,
    pub host_facts: HostFacts,
    pub dns: DnsSettings,
    pub runtime_name: String,
    pub pulls: Semaphore,
}

impl Context {
    /// Semaphore for `Context::pulls`.
    pub fn pull_permits() -> Semaphore {
        Semaphore::new(PARALLEL_PULLS)
    }

    /// Wall time in whole seconds, the precision of the API.
    pub fn now(&self) -> Timestamp {
        let now = self.env.clock.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    pub fn host_ips(&self) -> Vec<String> {
        vec![self.config.node_ip.to_string()]
    }

    pub fn status_inputs(&self) -> StatusInputs {
        StatusInputs {
            host_ips: self.host_ips(),
            runtime_name: self.runtime_name.clone(),
        }
    }

    pub fn node_facts(&self) -> NodeFacts {
        NodeFacts {
            memory_bytes: self.host_facts.memory_bytes,
            cgroup_root: self.config.cgroup_root.clone(),
        }
    }

    /// What the node has to give to pods, by resource.
    pub fn allocatable(&self) -> BTreeMap<String, Quantity> {
        let facts = &self.host_facts;
        let cpu = i64::from(facts.cpus) * 1000 - self.config.reserved_cpu_milli;
        let memory = facts.memory_bytes - self.config.reserved_memory_bytes;
        BTreeMap::from([
            ("cpu".to_owned(), cpu_quantity(cpu.max(0))),
            (
                "memory".to_owned(),
                Quantity(format!("{}Ki", memory.max(0) >> 10)),
            ),
            (
                "ephemeral-storage".to_owned(),
                Quantity((facts.disk_bytes / 10 * 9).to_string()),
            ),
            ("pods".to_owned(), Quantity(self.config.max_pods.to_string())),
            ("hugepages-2Mi".to_owned(), Quantity("0".to_owned())),
            ("hugepages-1Gi".to_owned(), Quantity("0".to_owned())),
        ])
    }

    pub fn capacity(&self) -> BTreeMap<String, Quantity> {
        let facts = &self.host_facts;
        let mut capacity = self.allocatable();
        capacity.insert("cpu".to_owned(), Quantity(facts.cpus.to_string()));
        capacity.insert(
            "memory".to_owned(),
            Quantity(format!("{}Ki", facts.memory_bytes >> 10)),
        );
        capacity.insert(
            "ephemeral-storage".to_owned(),
            Quantity(format!("{}Ki", facts.disk_bytes >> 10)),
        );
        capacity
    }

    /// `<pods>/<uid>`
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.pods_dir().join(uid)
    }

    /// `<logs>/<namespace>_<name>_<uid>`
    pub fn log_dir(&self, model: &PodModel) -> PathBuf {
        let name = format!("{}_{}_{}", model.namespace, model.name, model.uid);
        self.config.logs_dir().join("pods").join(name)
    }

    /// Tells something about a pod, or one of its containers.
    pub fn event(
        &self,
        model: &PodModel,
        container: Option<&str>,
        kind: EventKind,
        reason: &str,
        message: String,
    ) {
        let pod: &Pod = &model.pod;
        let mut object = pod.object_ref(&());
        object.field_path = container.map(|name| {
            let list = match model.container(name).map(|c| c.kind) {
                Some(ContainerKind::Init | ContainerKind::Sidecar) => "initContainers",
                Some(ContainerKind::Ephemeral) => "ephemeralContainers",
                _ => "containers",
            };
            format!("spec.{list}{{{name}}}")
        });
        self.recorder.event(object, kind, reason, message);
    }

    pub fn node_event(&self, kind: EventKind, reason: &str, message: String) {
        let mut object = Node::default().object_ref(&());
        object.name = Some(self.config.node_name.clone());
        // Upstream's nodes have their name for a UID in events.
        object.uid = Some(self.config.node_name.clone());
        self.recorder.event(object, kind, reason, message);
    }
}

fn cpu_quantity(milli: i64) -> Quantity {
    if milli % 1000 == 0 {
        Quantity((milli / 1000).to_string())
    } else {
        Quantity(format!("{milli}m"))
    }
}
