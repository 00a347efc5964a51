//! The single checks of the baseline and restricted levels.

use crate::tree;
use serde_json::Value;

pub(super) const HOST_PATHS: &str = "hostPath volumes";
pub(super) const RESTRICTED_VOLUMES: &str = "restricted volume types";

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) name: &'static str,
    pub(super) detail: String,
}

type Check = fn(&Value) -> Option<Violation>;

pub(super) const BASELINE: &[Check] = &[
    host_namespaces,
    privileged,
    added_capabilities,
    host_paths,
    host_ports,
    proc_mounts,
    seccomp_unconfined,
    sysctls,
];

pub(super) const RESTRICTED: &[Check] = &[
    volumes,
    privilege_escalation,
    dropped_capabilities,
    run_as_non_root,
    run_as_root_user,
    seccomp_required,
];

const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SAFE_SYSCTLS: [&str; 11] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
];
const VOLUME_KINDS: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
];

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| tree::list(pod, &["spec", list]))
}

/// Names of the containers that fail, as `container "a"` or `containers "a", "b"`.
fn failing(pod: &Value, fails: impl Fn(&Value) -> bool) -> Option<String> {
    let names: Vec<String> = containers(pod)
        .filter(|c| fails(c))
        .map(|c| format!("\"{}\"", tree::text(c, &["name"])))
        .collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("container {one}")),
        many => Some(format!("containers {}", many.join(", "))),
    }
}

fn violation(name: &'static str, detail: impl Into<String>) -> Option<Violation> {
    Some(Violation {
        name,
        detail: detail.into(),
    })
}

fn host_namespaces(pod: &Value) -> Option<Violation> {
    let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| tree::flag(pod, &["spec", field]))
        .map(|field| format!("{field}=true"))
        .collect();
    if used.is_empty() {
        None
    } else {
        violation("host namespaces", used.join(", "))
    }
}

fn privileged(pod: &Value) -> Option<Violation> {
    let who = failing(pod, |c| tree::flag(c, &["securityContext", "privileged"]))?;
    violation(
        "privileged",
        format!("{who} must not set securityContext.privileged=true"),
    )
}

fn added_capabilities(pod: &Value) -> Option<Violation> {
    let mut bad = Vec::new();
    let who = failing(pod, |c| {
        tree::list(c, &["securityContext", "capabilities", "add"])
            .iter()
            .filter_map(Value::as_str)
            .any(|capability| !BASELINE_CAPABILITIES.contains(&capability))
    })?;
    for container in containers(pod) {
        for capability in tree::list(container, &["securityContext", "capabilities", "add"]) {
            let capability = capability.as_str().unwrap_or_default();
            if !BASELINE_CAPABILITIES.contains(&capability) {
                bad.push(format!("\"{capability}\""));
            }
        }
    }
    bad.sort();
    bad.dedup();
    violation(
        "non-default capabilities",
        format!(
            "{who} must not include {} in securityContext.capabilities.add",
            bad.join(", ")
        ),
    )
}

fn host_paths(pod: &Value) -> Option<Violation> {
    let names: Vec<String> = tree::list(pod, &["spec", "volumes"])
        .iter()
        .filter(|v| v.get("hostPath").is_some())
        .map(|v| format!("\"{}\"", tree::text(v, &["name"])))
        .collect();
    match names.as_slice() {
        [] => None,
        [one] => violation(HOST_PATHS, format!("volume {one}")),
        many => violation(HOST_PATHS, format!("volumes {}", many.join(", "))),
    }
}

fn host_ports(pod: &Value) -> Option<Violation> {
    let uses = |c: &Value| {
        tree::list(c, &["ports"])
            .iter()
            .any(|p| tree::int(p, &["hostPort"]).unwrap_or(0) != 0)
    };
    let who = failing(pod, uses)?;
    violation("hostPort", format!("{who} uses hostPort"))
}

fn proc_mounts(pod: &Value) -> Option<Violation> {
    let who = failing(pod, |c| {
        let mount = tree::text(c, &["securityContext", "procMount"]);
        !mount.is_empty() && mount != "Default"
    })?;
    violation(
        "procMount",
        format!("{who} must not set securityContext.procMount"),
    )
}

fn seccomp_unconfined(pod: &Value) -> Option<Violation> {
    let unconfined =
        |at: &Value| tree::text(at, &["securityContext", "seccompProfile", "type"]) == "Unconfined";
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let who = if unconfined(spec) {
        Some("pod".to_owned())
    } else {
        failing(pod, unconfined)
    }?;
    violation(
        "seccompProfile",
        format!("{who} must not set securityContext.seccompProfile.type to \"Unconfined\""),
    )
}

fn sysctls(pod: &Value) -> Option<Violation> {
    let unsafe_ones: Vec<&str> = tree::list(pod, &["spec", "securityContext", "sysctls"])
        .iter()
        .map(|s| tree::text(s, &["name"]))
        .filter(|name| !SAFE_SYSCTLS.contains(name))
        .collect();
    if unsafe_ones.is_empty() {
        None
    } else {
        violation("forbidden sysctls", unsafe_ones.join(", "))
    }
}

fn volumes(pod: &Value) -> Option<Violation> {
    let mut bad = Vec::new();
    for volume in tree::list(pod, &["spec", "volumes"]) {
        let kind = volume
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, _)| k.as_str())
            .find(|k| *k != "name");
        if let Some(kind) = kind.filter(|k| !VOLUME_KINDS.contains(k)) {
            bad.push(format!(
                "volume \"{}\" uses restricted volume type \"{kind}\"",
                tree::text(volume, &["name"])
            ));
        }
    }
    if bad.is_empty() {
        None
    } else {
        violation(RESTRICTED_VOLUMES, bad.join(", "))
    }
}

fn privilege_escalation(pod: &Value) -> Option<Violation> {
    let path = ["securityContext", "allowPrivilegeEscalation"];
    let who = failing(pod, |c| tree::at(c, &path) != Some(&Value::Bool(false)))?;
    violation(
        "allowPrivilegeEscalation != false",
        format!("{who} must set securityContext.allowPrivilegeEscalation=false"),
    )
}

fn dropped_capabilities(pod: &Value) -> Option<Violation> {
    let drops_all = |c: &Value| {
        let dropped = tree::list(c, &["securityContext", "capabilities", "drop"]);
        dropped
            .iter()
            .any(|capability| capability.as_str() == Some("ALL"))
    };
    if let Some(who) = failing(pod, |c| !drops_all(c)) {
        return violation(
            "unrestricted capabilities",
            format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"),
        );
    }
    let who = failing(pod, |c| {
        let added = tree::list(c, &["securityContext", "capabilities", "add"]);
        added
            .iter()
            .any(|capability| capability.as_str() != Some("NET_BIND_SERVICE"))
    })?;
    violation(
        "unrestricted capabilities",
        format!(
            "{who} must not include anything but \"NET_BIND_SERVICE\" in securityContext.capabilities.add"
        ),
    )
}

fn run_as_non_root(pod: &Value) -> Option<Violation> {
    let path = ["securityContext", "runAsNonRoot"];
    let of_pod = pod.get("spec").and_then(|spec| tree::at(spec, &path));
    let who = failing(pod, |c| tree::at(c, &path).or(of_pod) != Some(&Value::Bool(true)))?;
    violation(
        "runAsNonRoot != true",
        format!("pod or {who} must set securityContext.runAsNonRoot=true"),
    )
}

fn run_as_root_user(pod: &Value) -> Option<Violation> {
    let root = |at: &Value| tree::int(at, &["securityContext", "runAsUser"]) == Some(0);
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let who = if root(spec) {
        Some("pod".to_owned())
    } else {
        failing(pod, root)
    }?;
    violation("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

fn seccomp_required(pod: &Value) -> Option<Violation> {
    let path = ["securityContext", "seccompProfile", "type"];
    let of_pod = pod.get("spec").map_or("", |spec| tree::text(spec, &path));
    let who = failing(pod, |c| {
        let own = tree::text(c, &path);
        let effective = if own.is_empty() { of_pod } else { own };
        !matches!(effective, "RuntimeDefault" | "Localhost")
    })?;
    violation(
        "seccompProfile",
        format!(
            "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        ),
    )
}
