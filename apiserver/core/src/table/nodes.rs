//! Nodes.

use super::access::{NONE, UNKNOWN, condition, entries, flag, list, name, text, text_or};
use super::age::age;
use super::{AGE, Printer, name as name_column, text as column, wide};
use serde_json::Value;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

pub const NODES: Printer = Printer {
    columns: &[
        name_column(),
        column("Status"),
        column("Roles"),
        AGE,
        column("Version"),
        wide("Internal-IP"),
        wide("External-IP"),
        wide("OS-Image"),
        wide("Kernel-Version"),
        wide("Container-Runtime"),
    ],
    cells: |object, now| {
        let info =
            |field: &str| -> Value { text_or(object, &format!("/status/nodeInfo/{field}"), UNKNOWN).into() };
        vec![
            name(object),
            status(object).into(),
            roles(object).into(),
            age(object, now),
            text(object, "/status/nodeInfo/kubeletVersion").into(),
            address(object, "InternalIP").into(),
            address(object, "ExternalIP").into(),
            info("osImage"),
            info("kernelVersion"),
            info("containerRuntimeVersion"),
        ]
    },
};

fn status(node: &Value) -> String {
    let ready = match condition(node, "Ready") {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let suffix = if flag(node, "/spec/unschedulable") {
        ",SchedulingDisabled"
    } else {
        ""
    };
    format!("{ready}{suffix}")
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = entries(node, "/metadata/labels")
        .into_iter()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some("") => None,
            Some(role) => Some(role),
            None if key == ROLE_LABEL => value.as_str().filter(|r| !r.is_empty()),
            None => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    super::access::joined(roles)
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    list(node, "/status/addresses")
        .iter()
        .find(|a| text(a, "/type") == kind)
        .map_or(NONE, |a| text(a, "/address"))
}
