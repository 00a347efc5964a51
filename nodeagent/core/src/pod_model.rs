//! A pod as the agent reads it: its containers of all kinds in one list, with their restart rules.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerKind {
    /// Runs to completion before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: started in order, then runs beside the others.
    Sidecar,
    Regular,
    Ephemeral,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

#[derive(Debug, Clone)]
pub struct PodContainer {
    pub kind: ContainerKind,
    pub spec: Container,
    /// The container whose process namespace an ephemeral container joins.
    pub target: Option<String>,
}

/// A pod and what was read out of it once, instead of at every plan.
#[derive(Debug, Clone)]
pub struct PodModel {
    pub pod: Arc<Pod>,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub restart_policy: RestartPolicy,
    /// Init containers and sidecars in order, then regular, then ephemeral ones.
    pub containers: Vec<PodContainer>,
}

impl PodContainer {
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Changes when the running container no longer fits its spec. Upstream hashes name and image only,
    /// because nothing else of a container may change (kuberuntime `HashContainer`).
    pub fn hash(&self) -> String {
        let image = self.spec.image.as_deref().unwrap_or_default();
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in self.spec.name.bytes().chain([0]).chain(image.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        format!("{hash:x}")
    }

    /// Whether an attempt that ended with `exit_code` is followed by another one.
    pub fn restarts_after(&self, exit_code: i32, pod_policy: RestartPolicy) -> bool {
        match self.kind {
            ContainerKind::Sidecar => return true,
            ContainerKind::Ephemeral => return false,
            ContainerKind::Init | ContainerKind::Regular => {}
        }
        let rules = self.spec.restart_policy_rules.iter().flatten();
        for rule in rules {
            let Some(codes) = &rule.exit_codes else { continue };
            let listed = codes.values.iter().flatten().any(|v| *v == exit_code);
            let matches = match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            };
            if matches {
                return rule.action == "Restart";
            }
        }
        let policy = self
            .spec
            .restart_policy
            .as_deref()
            .map_or(pod_policy, parse_restart_policy);
        match (self.kind, policy) {
            (_, RestartPolicy::Never) => false,
            (ContainerKind::Init, _) | (_, RestartPolicy::OnFailure) => exit_code != 0,
            (_, RestartPolicy::Always) => true,
        }
    }
}

impl PodModel {
    pub fn new(pod: Arc<Pod>) -> Self {
        let spec = pod.spec.as_ref();
        let mut containers = Vec::new();
        for container in spec.iter().flat_map(|s| s.init_containers.iter().flatten()) {
            let kind = if container.restart_policy.as_deref() == Some("Always") {
                ContainerKind::Sidecar
            } else {
                ContainerKind::Init
            };
            containers.push(PodContainer {
                kind,
                spec: container.clone(),
                target: None,
            });
        }
        for container in spec.iter().flat_map(|s| &s.containers) {
            containers.push(PodContainer {
                kind: ContainerKind::Regular,
                spec: container.clone(),
                target: None,
            });
        }
        for container in spec.iter().flat_map(|s| s.ephemeral_containers.iter().flatten()) {
            containers.push(PodContainer {
                kind: ContainerKind::Ephemeral,
                spec: from_ephemeral(container),
                target: container.target_container_name.clone(),
            });
        }
        let restart_policy = spec
            .and_then(|s| s.restart_policy.as_deref())
            .map_or(RestartPolicy::Always, parse_restart_policy);
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            restart_policy,
            containers,
            pod,
        }
    }

    pub fn container(&self, name: &str) -> Option<&PodContainer> {
        self.containers.iter().find(|c| c.spec.name == name)
    }

    pub fn of_kind(&self, kind: ContainerKind) -> impl Iterator<Item = &PodContainer> {
        self.containers.iter().filter(move |c| c.kind == kind)
    }

    /// Init containers and sidecars, in their order.
    pub fn init_sequence(&self) -> impl Iterator<Item = &PodContainer> {
        self.containers
            .iter()
            .filter(|c| matches!(c.kind, ContainerKind::Init | ContainerKind::Sidecar))
    }

    pub fn host_network(&self) -> bool {
        self.pod.spec.as_ref().and_then(|s| s.host_network) == Some(true)
    }

    pub fn is_deleted(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Seconds between the request to stop and the kill: of the deletion, else of the spec.
    pub fn grace_period_seconds(&self) -> i64 {
        self.pod
            .metadata
            .deletion_grace_period_seconds
            .or_else(|| {
                self.pod
                    .spec
                    .as_ref()
                    .and_then(|s| s.termination_grace_period_seconds)
            })
            .unwrap_or(30)
            .max(0)
    }

    /// The phase that the API server has, `Pending` when none.
    pub fn api_phase(&self) -> &str {
        self.pod
            .status
            .as_ref()
            .and_then(|s| s.phase.as_deref())
            .unwrap_or("Pending")
    }

    pub fn api_phase_is_terminal(&self) -> bool {
        matches!(self.api_phase(), "Succeeded" | "Failed")
    }
}

fn parse_restart_policy(policy: &str) -> RestartPolicy {
    match policy {
        "Never" => RestartPolicy::Never,
        "OnFailure" => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

fn from_ephemeral(e: &EphemeralContainer) -> Container {
    Container {
        args: e.args.clone(),
        command: e.command.clone(),
        env: e.env.clone(),
        env_from: e.env_from.clone(),
        image: e.image.clone(),
        image_pull_policy: e.image_pull_policy.clone(),
        name: e.name.clone(),
        resources: e.resources.clone(),
        security_context: e.security_context.clone(),
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        termination_message_path: e.termination_message_path.clone(),
        termination_message_policy: e.termination_message_policy.clone(),
        tty: e.tty,
        volume_mounts: e.volume_mounts.clone(),
        working_dir: e.working_dir.clone(),
        ..Container::default()
    }
}
