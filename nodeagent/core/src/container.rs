//! From a pod's spec to what the runtime is told: configuration, environment, resources, security.

mod config;
mod downward;
mod environment;
mod references;
mod resources;
mod security;

pub use config::{NodeFacts, VolumePaths, container_config, linux_resources, sandbox_config};
pub use downward::field_value;
pub(crate) use downward::resource_value;
pub use environment::{EnvironmentSources, environment, service_environment};
pub use references::{References, references};
pub(crate) use resources::together;
pub use resources::{PodCgroups, QosClass, cgroup_resources, qos_class};

/// A pod that cannot be run as it is written, or not yet. The text is the message of the container's
/// `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    KeyMissing {
        kind: &'static str,
        namespace: String,
        name: String,
        key: String,
    },
    #[error("unsupported fieldPath: {0}")]
    FieldPath(String),
    #[error("unsupported resource: {0}")]
    Resource(String),
    #[error("cannot find volume \"{volume}\" to mount into container \"{container}\"")]
    Volume { volume: String, container: String },
    #[error("container has runAsNonRoot and image will run as root")]
    RunsAsRoot,
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({0}), cannot verify user is non-root"
    )]
    UserNotNumeric(String),
    #[error("{0}")]
    Invalid(String),
}
