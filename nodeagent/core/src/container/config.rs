//! Sandbox and container configurations.
//!
//! Follows kubelet `kuberuntime_sandbox.go` and `kuberuntime_container.go` of Kubernetes 1.36.

use super::environment::{EnvironmentSources, environment, expand};
use super::resources::{PodCgroups, container_resources, qos_class};
use super::security::{ImageUser, seccomp, security_context};
use super::{ConfigError, QosClass};
use crate::name_resolution::{ResolvConf, hostname};
use crate::pod_model::{ContainerKind, PodContainer, PodModel};
use crate::runtime_spec::{
    ContainerConfig, LinuxResources, Mount, MountPropagation, NamespaceMode, Namespaces, PortMapping,
    SandboxConfig, SeccompProfile, annotation, label,
};
use std::collections::BTreeMap;

/// Of `system-cluster-critical` and above: the last to be killed for memory.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// What of the node goes into configurations.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    pub memory_bytes: i64,
    /// Absolute, e.g. `/node1`; see `PodCgroups`.
    pub cgroup_root: String,
}

/// Host paths for the mounts of one container, made ready beforehand.
#[derive(Debug, Clone, Default)]
pub struct VolumePaths {
    /// By volume name.
    pub volumes: BTreeMap<String, String>,
    /// Sub-path mounts, already resolved on the host: by index in `volumeMounts`.
    pub sub_paths: BTreeMap<usize, String>,
    pub hosts_file: Option<String>,
    pub termination_log: Option<String>,
    /// The image that a pull or a look-up gave, and the user that it names.
    pub image_ref: String,
    pub image_uid: Option<i64>,
    pub image_user: String,
    /// The runtime id of the container that an ephemeral container targets.
    pub target_id: Option<String>,
}

pub fn sandbox_config(
    model: &PodModel,
    attempt: u32,
    resolv: &ResolvConf,
    log_directory: &str,
    node_name: &str,
    facts: &NodeFacts,
) -> SandboxConfig {
    let spec = model.pod.spec.clone().unwrap_or_default();
    let security = spec.security_context.unwrap_or_default();
    let host_network = model.host_network();
    let privileged = model
        .containers
        .iter()
        .any(|c| c.spec.security_context.as_ref().and_then(|s| s.privileged) == Some(true));
    let mut labels = model.pod.metadata.labels.clone().unwrap_or_default();
    labels.extend(pod_labels(model));
    let port_mappings = model
        .containers
        .iter()
        .flat_map(|c| c.spec.ports.iter().flatten())
        .filter(|_| !host_network)
        .filter_map(|p| {
            let host_port = p.host_port.filter(|port| *port > 0)?;
            Some(PortMapping {
                protocol: p.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                container_port: p.container_port,
                host_port,
                host_ip: p.host_ip.clone().unwrap_or_default(),
            })
        })
        .collect();
    SandboxConfig {
        name: model.name.clone(),
        namespace: model.namespace.clone(),
        uid: model.uid.clone(),
        attempt,
        hostname: if host_network {
            String::new()
        } else {
            hostname(model, node_name).0
        },
        log_directory: log_directory.to_owned(),
        dns_servers: resolv.servers.clone(),
        dns_searches: resolv.searches.clone(),
        dns_options: resolv.options.clone(),
        port_mappings,
        labels,
        annotations: model.pod.metadata.annotations.clone().unwrap_or_default(),
        cgroup_parent: PodCgroups::new(&facts.cgroup_root, qos_class(&model.pod), &model.uid).pod,
        sysctls: security
            .sysctls
            .iter()
            .flatten()
            .map(|s| (s.name.replace('/', "."), s.value.clone()))
            .collect(),
        namespaces: namespaces(model, None),
        privileged,
        run_as_user: security.run_as_user,
        run_as_group: security.run_as_group,
        supplemental_groups: pod_groups(model),
        seccomp: if privileged {
            SeccompProfile::Unconfined
        } else {
            match seccomp(security.seccomp_profile.as_ref()) {
                // The pause process needs no exception from the default.
                SeccompProfile::Localhost(_) => SeccompProfile::RuntimeDefault,
                profile => profile,
            }
        },
        runtime_handler: String::new(),
    }
}

/// # Errors
/// See [`ConfigError`].
pub fn container_config(
    model: &PodModel,
    container: &PodContainer,
    attempt: u32,
    sources: &EnvironmentSources,
    paths: &VolumePaths,
    facts: &NodeFacts,
) -> Result<ContainerConfig, ConfigError> {
    let spec = &container.spec;
    let environment = environment(model, container, sources)?;
    let lookup = |name: &str| {
        environment
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.clone())
    };
    let expand_all = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|text| expand(text, &lookup)).collect()
    };
    let user = ImageUser {
        uid: paths.image_uid,
        name: &paths.image_user,
    };
    let mut labels = pod_labels(model);
    labels.insert(label::CONTAINER_NAME.to_owned(), spec.name.clone());
    Ok(ContainerConfig {
        name: spec.name.clone(),
        attempt,
        image: paths.image_ref.clone(),
        image_name: spec.image.clone().unwrap_or_default(),
        command: expand_all(&spec.command),
        args: expand_all(&spec.args),
        working_dir: spec.working_dir.clone().unwrap_or_default(),
        mounts: mounts(container, paths)?,
        environment,
        labels,
        annotations: annotations(model, container, attempt),
        log_path: format!("{}/{attempt}.log", spec.name),
        stdin: spec.stdin == Some(true),
        stdin_once: spec.stdin_once == Some(true),
        tty: spec.tty == Some(true),
        resources: linux_resources(model, container, facts),
        namespaces: namespaces(model, paths.target_id.clone()),
        security: security_context(model, container, &user, pod_groups(model))?,
    })
}

/// What the container may use of the machine.
pub fn linux_resources(model: &PodModel, container: &PodContainer, facts: &NodeFacts) -> LinuxResources {
    let class = effective_class(container, qos_class(&model.pod));
    let priority = model.pod.spec.as_ref().and_then(|s| s.priority);
    let critical = priority.unwrap_or(0) >= CRITICAL_PRIORITY;
    container_resources(&container.spec, class, critical, facts.memory_bytes)
}

/// Ephemeral containers have no resources of their own and are the first to go.
fn effective_class(container: &PodContainer, class: QosClass) -> QosClass {
    if container.kind == ContainerKind::Ephemeral && class == QosClass::Burstable {
        QosClass::BestEffort
    } else {
        class
    }
}

fn pod_labels(model: &PodModel) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::POD_NAME.to_owned(), model.name.clone()),
        (label::POD_NAMESPACE.to_owned(), model.namespace.clone()),
        (label::POD_UID.to_owned(), model.uid.clone()),
    ])
}

fn annotations(model: &PodModel, container: &PodContainer, attempt: u32) -> BTreeMap<String, String> {
    let path = container.spec.termination_message_path.as_deref();
    let policy = container.spec.termination_message_policy.as_deref();
    BTreeMap::from([
        (annotation::HASH.to_owned(), container.hash()),
        (annotation::RESTART_COUNT.to_owned(), attempt.to_string()),
        (
            annotation::TERMINATION_MESSAGE_PATH.to_owned(),
            path.unwrap_or("/dev/termination-log").to_owned(),
        ),
        (
            annotation::TERMINATION_MESSAGE_POLICY.to_owned(),
            policy.unwrap_or("File").to_owned(),
        ),
        (
            annotation::GRACE_PERIOD.to_owned(),
            model.grace_period_seconds().to_string(),
        ),
    ])
}

/// `fsGroup` and `supplementalGroups`.
fn pod_groups(model: &PodModel) -> Vec<i64> {
    let security = model.pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    security
        .iter()
        .flat_map(|s| {
            s.fs_group
                .iter()
                .chain(s.supplemental_groups.iter().flatten())
                .copied()
        })
        .collect()
}

fn namespaces(model: &PodModel, target: Option<String>) -> Namespaces {
    let spec = model.pod.spec.as_ref();
    let mode = |host: Option<bool>| match host {
        Some(true) => NamespaceMode::Node,
        _ => NamespaceMode::Pod,
    };
    let shared = spec.and_then(|s| s.share_process_namespace) == Some(true);
    Namespaces {
        network: mode(spec.and_then(|s| s.host_network)),
        ipc: mode(spec.and_then(|s| s.host_ipc)),
        pid: match spec.and_then(|s| s.host_pid) {
            Some(true) => NamespaceMode::Node,
            _ if shared => NamespaceMode::Pod,
            _ => NamespaceMode::Container,
        },
        pid_target: target,
    }
}

fn mounts(container: &PodContainer, paths: &VolumePaths) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    let mut has_hosts = false;
    for (index, mount) in container.spec.volume_mounts.iter().flatten().enumerate() {
        has_hosts |= mount.mount_path == "/etc/hosts";
        let host_path = match paths.sub_paths.get(&index) {
            Some(path) => path,
            None => paths
                .volumes
                .get(&mount.name)
                .ok_or_else(|| ConfigError::Volume {
                    volume: mount.name.clone(),
                    container: container.name().to_owned(),
                })?,
        };
        let container_path = if mount.mount_path.starts_with('/') {
            mount.mount_path.clone()
        } else {
            format!("/{}", mount.mount_path)
        };
        mounts.push(Mount {
            host_path: host_path.clone(),
            container_path,
            read_only: mount.read_only == Some(true),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => MountPropagation::HostToContainer,
                Some("Bidirectional") => MountPropagation::Bidirectional,
                _ => MountPropagation::Private,
            },
        });
    }
    // Pods with the host's network get a managed file too; the runtime would copy the host's.
    if let (false, Some(hosts)) = (has_hosts, &paths.hosts_file) {
        mounts.push(Mount {
            host_path: hosts.clone(),
            container_path: "/etc/hosts".to_owned(),
            ..Mount::default()
        });
    }
    if let Some(log) = &paths.termination_log {
        let path = container.spec.termination_message_path.as_deref();
        mounts.push(Mount {
            host_path: log.clone(),
            container_path: path.unwrap_or("/dev/termination-log").to_owned(),
            ..Mount::default()
        });
    }
    Ok(mounts)
}
