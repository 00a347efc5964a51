//! The node's status: conditions, capacity, addresses, images.
//!
//! Follows kubelet `pkg/kubelet/nodestatus/setters.go`; written when it changed, when the cluster says something else
//! (a node that was silent is called `Unknown`), or after five minutes.

use crate::context::Context;
use crate::host::HostLoad;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus,
    NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, PostParams};
use kubeclient::{EventKind, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const KUBELET_VERSION: &str = "v1.36.0";
/// The longest time between two reports.
const REPORT_AT_LEAST: Duration = Duration::from_secs(300);
/// Between two looks while the node is not ready, or its status not written.
const NOT_READY_INTERVAL: Duration = Duration::from_millis(250);
const MAX_ATTEMPTS: usize = 5;
const MAX_IMAGES: usize = 50;
/// Below this much available memory the node is under pressure (upstream's default eviction threshold).
const MIN_MEMORY_BYTES: i64 = 100 << 20;
/// Below this share of free disk; upstream's 10 % would keep large, well filled disks out.
const MIN_DISK_SHARE: i64 = 20;

/// Until dropped. `nodes` is what the cluster says.
pub(crate) async fn report_status(context: Arc<Context>, nodes: Store<Node>) {
    let mut last: Option<(NodeStatus, Instant)> = None;
    let mut ready = None;
    let mut wait = Duration::ZERO;
    loop {
        sleep(wait).await;
        // Until the node is ready every moment counts.
        wait = context.config.status_interval.min(NOT_READY_INTERVAL);
        let due = last
            .as_ref()
            .is_none_or(|(_, at)| at.elapsed() >= REPORT_AT_LEAST);
        let status = compute(&context, last.as_ref().map(|(s, _)| s)).await;
        let said = nodes.get(&context.config.node_name);
        let changed = last.as_ref().is_none_or(|(old, _)| differs(old, &status))
            || said.is_some_and(|node| is_contradicted(&node, &status));
        let now_ready = is_ready(&status);
        if now_ready && !(due || changed) {
            wait = context.config.status_interval;
        }
        if !due && !changed {
            continue;
        }
        match write(&context, &status).await {
            Ok(written) => last = Some((written, Instant::now())),
            Err(error) => {
                tracing::warn!(%error, "node status cannot be written");
                continue;
            }
        }
        if ready != Some(now_ready) {
            let reason = if now_ready { "NodeReady" } else { "NodeNotReady" };
            let text = format!("Node {} status is now: {reason}", context.config.node_name);
            context.node_event(EventKind::Normal, reason, text);
            ready = Some(now_ready);
        }
    }
}

fn is_ready(status: &NodeStatus) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Replaces the status of the object as it is now; conditions of others stay.
async fn write(context: &Context, status: &NodeStatus) -> kube::Result<NodeStatus> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match try_write(context, status).await {
            // Controllers write to nodes too: read again.
            Err(kube::Error::Api(answer)) if answer.is_conflict() && attempts < MAX_ATTEMPTS => {}
            result => return result,
        }
    }
}

async fn try_write(context: &Context, status: &NodeStatus) -> kube::Result<NodeStatus> {
    let nodes: Api<Node> = Api::all(context.client.clone());
    let Some(mut node) = nodes.get_opt(&context.config.node_name).await? else {
        // Deleted by someone: a running agent comes back.
        super::register(context).await;
        return Ok(status.clone());
    };
    let mut next = status.clone();
    let old = node.status.unwrap_or_default();
    let conditions = next.conditions.get_or_insert_default();
    for condition in conditions.iter_mut() {
        let same = old
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == condition.type_ && c.status == condition.status);
        if let Some(same) = same {
            condition
                .last_transition_time
                .clone_from(&same.last_transition_time);
        }
    }
    let foreign = old.conditions.into_iter().flatten();
    let foreign: Vec<_> = foreign
        .filter(|c| !conditions.iter().any(|own| own.type_ == c.type_))
        .collect();
    conditions.extend(foreign);
    next.volumes_attached = old.volumes_attached;
    next.volumes_in_use = old.volumes_in_use;
    node.status = Some(next.clone());
    nodes
        .replace_status(&context.config.node_name, &PostParams::default(), &node)
        .await?;
    Ok(next)
}

/// Whether the node object says something else of one of our conditions.
fn is_contradicted(node: &Node, status: &NodeStatus) -> bool {
    let said = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let own = |kind: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind);
    said.filter(|c| OWNED.contains(&c.type_.as_str()))
        .any(|c| own(&c.type_).is_some_and(|own| own.status != c.status))
}

/// Heart beats alone are no difference.
fn differs(old: &NodeStatus, new: &NodeStatus) -> bool {
    let conditions = |s: &NodeStatus| -> Vec<(String, String, Option<String>)> {
        let own = s.conditions.iter().flatten();
        own.filter(|c| OWNED.contains(&c.type_.as_str()))
            .map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone()))
            .collect()
    };
    conditions(old) != conditions(new)
        || old.addresses != new.addresses
        || old.capacity != new.capacity
        || old.allocatable != new.allocatable
        || old.node_info != new.node_info
        || old.images != new.images
}

const OWNED: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

pub(super) async fn compute(context: &Context, old: Option<&NodeStatus>) -> NodeStatus {
    let load = context.host.load().await;
    let health = context.runtime.health().await;
    let (ready, message, version) = match &health {
        Ok(health) if health.network_ready => {
            let text = "kubelet is posting ready status".to_owned();
            (true, text, format!("{}://{}", health.name, health.version))
        }
        Ok(health) => (
            false,
            health.message.clone(),
            format!("{}://{}", health.name, health.version),
        ),
        Err(error) => (false, error.to_string(), String::new()),
    };
    let facts = &context.host_facts;
    let now = Time(context.now());
    let runtime_version = if version.is_empty() {
        old.and_then(|s| s.node_info.as_ref())
            .map(|i| i.container_runtime_version.clone())
            .unwrap_or_default()
    } else {
        version
    };
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.to_owned(),
        address,
    };
    let port = context.config.listen.rsplit(':').next();
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", context.config.node_ip.to_string()),
            address("Hostname", context.config.node_name.clone()),
        ]),
        capacity: Some(context.capacity()),
        allocatable: Some(context.allocatable()),
        conditions: Some(conditions(load, ready, &message, &now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint {
                port: port.and_then(|p| p.parse().ok()).unwrap_or(10250),
            }),
        }),
        images: Some(images(context).await),
        node_info: Some(NodeSystemInfo {
            architecture: facts.architecture.clone(),
            boot_id: facts.boot_id.clone(),
            container_runtime_version: runtime_version,
            kernel_version: facts.kernel_version.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: KUBELET_VERSION.to_owned(),
            machine_id: facts.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: facts.os_image.clone(),
            system_uuid: facts.machine_id.clone(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

fn conditions(load: HostLoad, ready: bool, message: &str, now: &Time) -> Vec<NodeCondition> {
    let memory = load.memory_available_bytes < MIN_MEMORY_BYTES;
    let disk =
        load.disk_total_bytes > 0 && load.disk_available_bytes < load.disk_total_bytes / MIN_DISK_SHARE;
    let pids = load.max_processes > 0 && load.processes > load.max_processes / 10 * 9;
    let condition = |type_: &str, status: bool, reason: &str, message: &str| NodeCondition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    };
    let pressure = |type_: &str, under: bool, bad: &str, good: &str, what: &str| {
        if under {
            condition(
                type_,
                true,
                bad,
                &format!("kubelet has insufficient {what} available"),
            )
        } else {
            condition(
                type_,
                false,
                good,
                &format!("kubelet has sufficient {what} available"),
            )
        }
    };
    vec![
        pressure(
            OWNED[0],
            memory,
            "KubeletHasInsufficientMemory",
            "KubeletHasSufficientMemory",
            "memory",
        ),
        pressure(
            OWNED[1],
            disk,
            "KubeletHasDiskPressure",
            "KubeletHasNoDiskPressure",
            "disk space",
        ),
        pressure(
            OWNED[2],
            pids,
            "KubeletHasInsufficientPID",
            "KubeletHasSufficientPID",
            "PID",
        ),
        condition(
            OWNED[3],
            ready,
            if ready { "KubeletReady" } else { "KubeletNotReady" },
            message,
        ),
    ]
}

/// The largest images, as the scheduler's image locality wants them.
async fn images(context: &Context) -> Vec<ContainerImage> {
    let mut images = context.runtime.list_images().await.unwrap_or_default();
    images.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.id.cmp(&b.id)));
    images.truncate(MAX_IMAGES);
    images
        .into_iter()
        .map(|image| ContainerImage {
            names: Some(image.digests.into_iter().chain(image.tags).collect()),
            size_bytes: i64::try_from(image.size_bytes).ok(),
        })
        .collect()
}
