//! Security contexts: the pod's, overridden by the container's.

use super::ConfigError;
use crate::pod_model::{PodContainer, PodModel};
use crate::runtime_spec::{CapabilitySet, SeccompProfile, SecurityContext};
use k8s_openapi::api::core::v1::SeccompProfile as ApiSeccomp;

/// What an unprivileged container may not see, as in runtime-spec examples and `pkg/securitycontext`.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The user that an image runs as when the pod names none: numeric, or a name.
pub(super) struct ImageUser<'a> {
    pub uid: Option<i64>,
    pub name: &'a str,
}

pub(super) fn security_context(
    model: &PodModel,
    container: &PodContainer,
    image_user: &ImageUser<'_>,
    supplemental_groups: Vec<i64>,
) -> Result<SecurityContext, ConfigError> {
    let pod = model.pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let own = container.spec.security_context.as_ref();
    let privileged = own.and_then(|c| c.privileged) == Some(true);
    let run_as_user = own
        .and_then(|c| c.run_as_user)
        .or(pod.and_then(|p| p.run_as_user));
    let run_as_group = own
        .and_then(|c| c.run_as_group)
        .or(pod.and_then(|p| p.run_as_group));
    let non_root = own
        .and_then(|c| c.run_as_non_root)
        .or(pod.and_then(|p| p.run_as_non_root));
    if non_root == Some(true) {
        match (run_as_user.or(image_user.uid), image_user.name) {
            (Some(0), _) => return Err(ConfigError::RunsAsRoot),
            (Some(_), _) => {}
            (None, "") => return Err(ConfigError::RunsAsRoot),
            (None, name) => return Err(ConfigError::UserNotNumeric(name.to_owned())),
        }
    }
    let unmasked = privileged || own.and_then(|c| c.proc_mount.as_deref()) == Some("Unmasked");
    let paths = |list: &[&str]| -> Vec<String> {
        let list = if unmasked { &[] } else { list };
        list.iter().map(|p| (*p).to_owned()).collect()
    };
    let profile = own
        .and_then(|c| c.seccomp_profile.as_ref())
        .or(pod.and_then(|p| p.seccomp_profile.as_ref()));
    Ok(SecurityContext {
        privileged,
        run_as_user,
        run_as_group,
        supplemental_groups,
        read_only_root: own.and_then(|c| c.read_only_root_filesystem) == Some(true),
        no_new_privileges: own.and_then(|c| c.allow_privilege_escalation) == Some(false),
        capabilities: own
            .and_then(|c| c.capabilities.as_ref())
            .map(|c| CapabilitySet {
                add: c.add.clone().unwrap_or_default(),
                drop: c.drop.clone().unwrap_or_default(),
            })
            .unwrap_or_default(),
        seccomp: if privileged {
            SeccompProfile::Unconfined
        } else {
            seccomp(profile)
        },
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
    })
}

pub(super) fn seccomp(profile: Option<&ApiSeccomp>) -> SeccompProfile {
    match profile.map(|p| (p.type_.as_str(), p.localhost_profile.as_deref())) {
        Some(("RuntimeDefault", _)) => SeccompProfile::RuntimeDefault,
        Some(("Localhost", Some(path))) => SeccompProfile::Localhost(path.to_owned()),
        _ => SeccompProfile::Unconfined,
    }
}
