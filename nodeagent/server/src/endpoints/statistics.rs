//! `/stats/summary` and metrics: what pods use.

use super::Endpoints;
use super::response::{self, Response};
use crate::runtime::ContainerUsage;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// As much of `pkg/kubelet/apis/stats/v1alpha1` as metrics servers read.
pub(super) async fn summary(endpoints: &Endpoints) -> Response {
    let context = &endpoints.context;
    let usage = match context.runtime.usage().await {
        Ok(usage) => usage,
        Err(error) => return response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let load = context.host.load().await;
    let now = context.now().to_string();
    let mut pods: BTreeMap<String, Vec<&ContainerUsage>> = BTreeMap::new();
    for container in &usage {
        pods.entry(container.pod_uid.clone()).or_default().push(container);
    }
    let pods: Vec<Value> = pods
        .values()
        .filter_map(|containers| {
            let first = containers.first()?;
            let sum =
                |value: fn(&ContainerUsage) -> u64| -> u64 { containers.iter().map(|c| value(c)).sum() };
            Some(json!({
                "podRef": {"name": first.pod_name, "namespace": first.pod_namespace, "uid": first.pod_uid},
                "cpu": {"time": now, "usageCoreNanoSeconds": sum(|c| c.cpu_nanoseconds)},
                "memory": {"time": now, "workingSetBytes": sum(|c| c.working_set_bytes),
                    "usageBytes": sum(|c| c.usage_bytes), "rssBytes": sum(|c| c.rss_bytes)},
                "containers": containers.iter().map(|c| container_stats(c)).collect::<Vec<_>>(),
            }))
        })
        .collect();
    let cpu: u64 = usage.iter().map(|c| c.cpu_nanoseconds).sum();
    let used = context.host_facts.memory_bytes - load.memory_available_bytes;
    response::json(&json!({
        "node": {
            "nodeName": context.config.node_name,
            "cpu": {"time": now, "usageCoreNanoSeconds": cpu},
            "memory": {"time": now, "availableBytes": load.memory_available_bytes,
                "workingSetBytes": used, "usageBytes": used},
            "fs": {"time": now, "availableBytes": load.disk_available_bytes,
                "capacityBytes": load.disk_total_bytes,
                "usedBytes": load.disk_total_bytes - load.disk_available_bytes},
        },
        "pods": pods,
    }))
}

fn container_stats(usage: &ContainerUsage) -> Value {
    let time = time(usage.timestamp_ns);
    json!({
        "name": usage.name,
        "cpu": {"time": time, "usageCoreNanoSeconds": usage.cpu_nanoseconds},
        "memory": {"time": time, "workingSetBytes": usage.working_set_bytes,
            "usageBytes": usage.usage_bytes, "rssBytes": usage.rss_bytes},
        "rootfs": {"time": time, "usedBytes": usage.writable_bytes},
    })
}

fn time(nanoseconds: i64) -> String {
    Timestamp::from_nanosecond(i128::from(nanoseconds))
        .unwrap_or_default()
        .to_string()
}

/// The agent's own state.
pub(super) fn metrics(endpoints: &Endpoints) -> Response {
    let views = endpoints.pods.views();
    let running = views
        .iter()
        .flat_map(|v| &v.observed.containers)
        .filter(|c| c.is_running())
        .count();
    let pods = views
        .iter()
        .filter(|v| v.observed.ready_sandbox().is_some())
        .count();
    let text = format!(
        "# HELP kubelet_running_pods Number of pods that have a running pod sandbox\n\
         # TYPE kubelet_running_pods gauge\nkubelet_running_pods {pods}\n\
         # HELP kubelet_running_containers Number of containers currently running\n\
         # TYPE kubelet_running_containers gauge\n\
         kubelet_running_containers{{container_state=\"running\"}} {running}\n"
    );
    response::text(StatusCode::OK, text)
}

/// `/metrics/resource`, which metrics-server reads.
pub(super) async fn resource_metrics(endpoints: &Endpoints) -> Response {
    let context = &endpoints.context;
    let usage = match context.runtime.usage().await {
        Ok(usage) => usage,
        Err(error) => return response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let load = context.host.load().await;
    let cpu: u64 = usage.iter().map(|c| c.cpu_nanoseconds).sum();
    let used = context.host_facts.memory_bytes - load.memory_available_bytes;
    let mut text = format!(
        "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total {}\n\
         # TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes {used}\n\
         # TYPE container_cpu_usage_seconds_total counter\n",
        seconds(cpu)
    );
    let labels = |c: &ContainerUsage| {
        format!(
            "{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}}",
            c.name, c.pod_namespace, c.pod_name
        )
    };
    // Writing to a string cannot fail.
    for container in &usage {
        let value = seconds(container.cpu_nanoseconds);
        let _ = writeln!(
            text,
            "container_cpu_usage_seconds_total{} {value}",
            labels(container)
        );
    }
    text.push_str("# TYPE container_memory_working_set_bytes gauge\n");
    for container in &usage {
        let value = container.working_set_bytes;
        let _ = writeln!(
            text,
            "container_memory_working_set_bytes{} {value}",
            labels(container)
        );
    }
    response::text(StatusCode::OK, text)
}

#[allow(clippy::cast_precision_loss)]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
