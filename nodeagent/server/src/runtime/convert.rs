//! Between the agent's own words and the CRI's messages.

use super::{ContainerUsage, ImageInfo};
use jiff::Timestamp;
use nodeagent_core::{
    ContainerConfig, ContainerState, LinuxResources, Mount, MountPropagation, NamespaceMode, Namespaces,
    ObservedContainer, ObservedSandbox, SandboxConfig, SeccompProfile, SecurityContext, annotation, label,
};
use proto::cri;
use std::collections::BTreeMap;

pub(super) fn sandbox_config(config: &SandboxConfig) -> cri::PodSandboxConfig {
    let host = config.namespaces.network == NamespaceMode::Node;
    cri::PodSandboxConfig {
        metadata: Some(cri::PodSandboxMetadata {
            name: config.name.clone(),
            uid: config.uid.clone(),
            namespace: config.namespace.clone(),
            attempt: config.attempt,
        }),
        hostname: config.hostname.clone(),
        log_directory: config.log_directory.clone(),
        dns_config: Some(cri::DnsConfig {
            servers: config.dns_servers.clone(),
            searches: config.dns_searches.clone(),
            options: config.dns_options.clone(),
        }),
        port_mappings: if host {
            Vec::new()
        } else {
            config.port_mappings.iter().map(port_mapping).collect()
        },
        labels: map(&config.labels),
        annotations: map(&config.annotations),
        linux: Some(cri::LinuxPodSandboxConfig {
            cgroup_parent: config.cgroup_parent.clone(),
            security_context: Some(cri::LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces(&config.namespaces)),
                run_as_user: config.run_as_user.map(int64),
                run_as_group: config
                    .run_as_group
                    .filter(|_| config.run_as_user.is_some())
                    .map(int64),
                supplemental_groups: config.supplemental_groups.clone(),
                privileged: config.privileged,
                seccomp: Some(seccomp(&config.seccomp)),
                ..Default::default()
            }),
            sysctls: map(&config.sysctls),
            ..Default::default()
        }),
        windows: None,
    }
}

fn port_mapping(mapping: &nodeagent_core::PortMapping) -> cri::PortMapping {
    let protocol = match mapping.protocol.as_str() {
        "UDP" => cri::Protocol::Udp,
        "SCTP" => cri::Protocol::Sctp,
        _ => cri::Protocol::Tcp,
    };
    cri::PortMapping {
        protocol: protocol.into(),
        container_port: mapping.container_port,
        host_port: mapping.host_port,
        host_ip: mapping.host_ip.clone(),
    }
}

pub(super) fn container_config(config: &ContainerConfig) -> cri::ContainerConfig {
    cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata {
            name: config.name.clone(),
            attempt: config.attempt,
        }),
        image: Some(cri::ImageSpec {
            image: config.image.clone(),
            user_specified_image: config.image_name.clone(),
            ..Default::default()
        }),
        command: config.command.clone(),
        args: config.args.clone(),
        working_dir: config.working_dir.clone(),
        envs: config
            .environment
            .iter()
            .map(|(key, value)| cri::KeyValue {
                key: key.clone(),
                value: value.clone().into_bytes().into(),
            })
            .collect(),
        mounts: config.mounts.iter().map(mount).collect(),
        labels: map(&config.labels),
        annotations: map(&config.annotations),
        log_path: config.log_path.clone(),
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(resources(&config.resources)),
            security_context: Some(security(&config.security, &config.namespaces)),
        }),
        ..Default::default()
    }
}

fn mount(mount: &Mount) -> cri::Mount {
    let propagation = match mount.propagation {
        MountPropagation::Private => cri::MountPropagation::PropagationPrivate,
        MountPropagation::HostToContainer => cri::MountPropagation::PropagationHostToContainer,
        MountPropagation::Bidirectional => cri::MountPropagation::PropagationBidirectional,
    };
    cri::Mount {
        container_path: mount.container_path.clone(),
        host_path: mount.host_path.clone(),
        readonly: mount.read_only,
        propagation: propagation.into(),
        ..Default::default()
    }
}

pub(super) fn resources(resources: &LinuxResources) -> cri::LinuxContainerResources {
    cri::LinuxContainerResources {
        cpu_period: resources.cpu_period_us,
        cpu_quota: resources.cpu_quota_us,
        cpu_shares: resources.cpu_shares,
        memory_limit_in_bytes: resources.memory_limit_bytes,
        oom_score_adj: resources.oom_score_adj,
        ..Default::default()
    }
}

fn security(context: &SecurityContext, spaces: &Namespaces) -> cri::LinuxContainerSecurityContext {
    cri::LinuxContainerSecurityContext {
        capabilities: Some(cri::Capability {
            add_capabilities: context.capabilities.add.clone(),
            drop_capabilities: context.capabilities.drop.clone(),
            ..Default::default()
        }),
        privileged: context.privileged,
        namespace_options: Some(namespaces(spaces)),
        run_as_user: context.run_as_user.map(int64),
        // The CRI refuses a group without a user.
        run_as_group: context
            .run_as_group
            .filter(|_| context.run_as_user.is_some())
            .map(int64),
        readonly_rootfs: context.read_only_root,
        supplemental_groups: context.supplemental_groups.clone(),
        no_new_privs: context.no_new_privileges,
        masked_paths: context.masked_paths.clone(),
        readonly_paths: context.readonly_paths.clone(),
        seccomp: Some(seccomp(&context.seccomp)),
        ..Default::default()
    }
}

fn namespaces(spaces: &Namespaces) -> cri::NamespaceOption {
    let mode = |mode: NamespaceMode| match mode {
        NamespaceMode::Pod => cri::NamespaceMode::Pod.into(),
        NamespaceMode::Container => cri::NamespaceMode::Container.into(),
        NamespaceMode::Node => cri::NamespaceMode::Node.into(),
    };
    cri::NamespaceOption {
        network: mode(spaces.network),
        pid: if spaces.pid_target.is_some() {
            cri::NamespaceMode::Target.into()
        } else {
            mode(spaces.pid)
        },
        ipc: mode(spaces.ipc),
        target_id: spaces.pid_target.clone().unwrap_or_default(),
        userns_options: None,
    }
}

fn seccomp(profile: &SeccompProfile) -> cri::SecurityProfile {
    use cri::security_profile::ProfileType;
    let (kind, path) = match profile {
        SeccompProfile::Unconfined => (ProfileType::Unconfined, String::new()),
        SeccompProfile::RuntimeDefault => (ProfileType::RuntimeDefault, String::new()),
        SeccompProfile::Localhost(path) => (ProfileType::Localhost, path.clone()),
    };
    cri::SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: path,
    }
}

pub(super) fn observed_sandbox(status: cri::PodSandboxStatus) -> ObservedSandbox {
    let network = status.network.unwrap_or_default();
    let more = network.additional_ips.into_iter().map(|ip| ip.ip);
    ObservedSandbox {
        id: status.id,
        attempt: status.metadata.map_or(0, |m| m.attempt),
        ready: status.state == i32::from(cri::PodSandboxState::SandboxReady),
        created_at: time(status.created_at).unwrap_or_default(),
        ips: std::iter::once(network.ip)
            .chain(more)
            .filter(|ip| !ip.is_empty())
            .collect(),
    }
}

pub(super) fn observed_container(status: cri::ContainerStatus, sandbox_id: &str) -> ObservedContainer {
    let metadata = status.metadata.unwrap_or_default();
    ObservedContainer {
        sandbox_id: sandbox_id.to_owned(),
        name: status
            .labels
            .get(label::CONTAINER_NAME)
            .cloned()
            .unwrap_or(metadata.name),
        attempt: metadata.attempt,
        state: container_state(status.state),
        created_at: time(status.created_at).unwrap_or_default(),
        started_at: time(status.started_at),
        finished_at: time(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason,
        message: status.message,
        image: status
            .image
            .map(|i| {
                if i.user_specified_image.is_empty() {
                    i.image
                } else {
                    i.user_specified_image
                }
            })
            .unwrap_or_default(),
        image_id: status.image_ref,
        spec_hash: status
            .annotations
            .get(annotation::HASH)
            .cloned()
            .unwrap_or_default(),
        id: status.id,
    }
}

pub(super) fn container_state(state: i32) -> ContainerState {
    match cri::ContainerState::try_from(state) {
        Ok(cri::ContainerState::ContainerCreated) => ContainerState::Created,
        Ok(cri::ContainerState::ContainerRunning) => ContainerState::Running,
        Ok(cri::ContainerState::ContainerExited) => ContainerState::Exited,
        _ => ContainerState::Unknown,
    }
}

/// Nanoseconds since 1970; 0 means not yet. Whole seconds, as the API writes times.
fn time(nanoseconds: i64) -> Option<Timestamp> {
    if nanoseconds <= 0 {
        return None;
    }
    Timestamp::from_second(nanoseconds / 1_000_000_000).ok()
}

fn int64(value: i64) -> cri::Int64Value {
    cri::Int64Value { value }
}

fn map(map: &BTreeMap<String, String>) -> std::collections::HashMap<String, String> {
    map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

pub(super) fn image_spec(name: &str) -> cri::ImageSpec {
    cri::ImageSpec {
        image: name.to_owned(),
        ..Default::default()
    }
}

pub(super) fn image_info(image: cri::Image) -> ImageInfo {
    ImageInfo {
        id: image.id,
        tags: image.repo_tags,
        digests: image.repo_digests,
        size_bytes: image.size,
        uid: image.uid.map(|u| u.value),
        user: image.username,
    }
}

pub(super) fn usage(stats: cri::ContainerStats) -> ContainerUsage {
    let attributes = stats.attributes.unwrap_or_default();
    let get = |key: &str| attributes.labels.get(key).cloned().unwrap_or_default();
    let value = |v: Option<cri::UInt64Value>| v.map_or(0, |v| v.value);
    let cpu = stats.cpu.unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    ContainerUsage {
        name: get(label::CONTAINER_NAME),
        pod_uid: get(label::POD_UID),
        pod_name: get(label::POD_NAME),
        pod_namespace: get(label::POD_NAMESPACE),
        container_id: attributes.id,
        cpu_nanoseconds: value(cpu.usage_core_nano_seconds),
        working_set_bytes: value(memory.working_set_bytes),
        usage_bytes: value(memory.usage_bytes),
        rss_bytes: value(memory.rss_bytes),
        writable_bytes: value(stats.writable_layer.unwrap_or_default().used_bytes),
        timestamp_ns: cpu.timestamp,
    }
}
