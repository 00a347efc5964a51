//! The pure core of the node agent.
//!
//! Everything here is a plain function over data: no async, no IO, no clock, no random numbers. The
//! shell (`nodeagent-server`) observes the container runtime, calls [`plan`], executes the actions and
//! writes the status it is given.
//!
//! Invariants:
//! - [`plan`] is a function of (desired pod, observation, memory, now): an agent that restarts with an
//!   empty memory comes to the same actions, save for back-off counters and probe results.
//! - No action is given twice while the first is in flight ([`PodMemory`] knows what is in flight).
//! - A container that runs as it should is never touched.

mod admission;
mod container;
mod cri_log;
mod dns;
mod lifecycle;
mod name_resolution;
mod observation;
mod pod_model;
mod probe;
mod proxy;
mod runtime_spec;
mod status;
mod volumes;

pub use admission::rejection;
pub use container::{
    ConfigError, EnvironmentSources, NodeFacts, PodCgroups, QosClass, References, VolumePaths,
    cgroup_resources, container_config, environment, field_value, linux_resources, qos_class, references,
    sandbox_config, service_environment,
};
pub use cri_log::{LogLine, LogOptions, LogSelector, parse_line, parse_stream};
pub use dns::{DnsOutcome, DnsZone, MAX_UDP_MESSAGE, finish_chase, respond, server_failure};
pub use lifecycle::{
    Action, ContainerMemory, CrashBackoff, Plan, PodMemory, StopCause, TerminationCause, Waiting, plan,
};
pub use name_resolution::{DnsSettings, ResolvConf, hostname, hosts_file, resolv_conf};
pub use observation::{ContainerState, ObservedContainer, ObservedSandbox, PodObservation};
pub use pod_model::{ContainerKind, PodContainer, PodModel, RestartPolicy};
pub use probe::{
    HandlerTarget, ProbeKind, ProbeOutcome, ProbeSettings, ProbeTracker, handler_target, probe_settings,
    resolve_port,
};
pub use proxy::{ProxyInput, Ruleset, TABLE as PROXY_TABLE, plan as plan_proxy};
pub use runtime_spec::{
    CapabilitySet, ContainerConfig, LinuxResources, Mount, MountPropagation, NamespaceMode, Namespaces,
    PortMapping, SandboxConfig, SeccompProfile, SecurityContext, annotation, label,
};
pub use status::StatusInputs;
pub use volumes::{FileEntry, TokenProjection, VolumeError, VolumePlan, volume_plan};
