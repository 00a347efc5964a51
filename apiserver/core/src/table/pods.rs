//! Pods and pod templates. Follows `printPod` of Kubernetes 1.36.

use super::access::{NONE, condition, containers, flag, labels, list, name, number, text, text_or};
use super::age::{age, human_duration};
use super::{AGE, Printer, name as name_column, text as column, wide};
use jiff::Timestamp;
use serde_json::Value;

pub const PODS: Printer = Printer {
    columns: &[
        name_column(),
        column("Ready"),
        column("Status"),
        column("Restarts"),
        AGE,
        wide("IP"),
        wide("Node"),
        wide("Nominated Node"),
        wide("Readiness Gates"),
    ],
    cells: pod,
};

pub const POD_TEMPLATES: Printer = Printer {
    columns: &[
        name_column(),
        column("Containers"),
        column("Images"),
        column("Pod Labels"),
    ],
    cells: |object, _| {
        let (names, images) = containers(object, "/template/spec/containers");
        vec![
            name(object),
            names.into(),
            images.into(),
            labels(object, "/template/metadata/labels").into(),
        ]
    },
};

fn pod(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    let restarts = match summary.last_restart {
        Some(at) if summary.restarts > 0 => {
            format!(
                "{} ({} ago)",
                summary.restarts,
                human_duration(now.as_second() - at.as_second())
            )
        }
        _ => summary.restarts.to_string(),
    };
    vec![
        name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        age(pod, now),
        text_or(pod, "/status/podIP", NONE).into(),
        text_or(pod, "/spec/nodeName", NONE).into(),
        text_or(pod, "/status/nominatedNodeName", NONE).into(),
        readiness_gates(pod).into(),
    ]
}

struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn count_restarts(&mut self, status: &Value) {
        self.restarts += number(status, "/restartCount");
        let at = text(status, "/lastState/terminated/finishedAt")
            .parse::<Timestamp>()
            .ok();
        self.last_restart = self.last_restart.max(at);
    }
}

fn summarize(pod: &Value) -> Summary {
    let init = list(pod, "/spec/initContainers");
    let sidecars: Vec<&str> = init
        .iter()
        .filter(|c| text(c, "/restartPolicy") == "Always")
        .map(|c| text(c, "/name"))
        .collect();
    let mut summary = Summary {
        ready: 0,
        total: list(pod, "/spec/containers").len() + sidecars.len(),
        reason: text_or(pod, "/status/reason", text(pod, "/status/phase")).to_owned(),
        restarts: 0,
        last_restart: None,
    };
    let gated = list(pod, "/status/conditions")
        .iter()
        .any(|c| text(c, "/type") == "PodScheduled" && text(c, "/reason") == "SchedulingGated");
    if gated {
        summary.reason = "SchedulingGated".to_owned();
    }
    let initializing = initialization(pod, init.len(), &sidecars, &mut summary);
    if !initializing || condition(pod, "Initialized") == Some("True") {
        running(pod, &sidecars, &mut summary);
    }
    let phase = text(pod, "/status/phase");
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        if text(pod, "/status/reason") == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if phase != "Succeeded" && phase != "Failed" {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

/// Reads the init containers; true when the pod still waits for one.
fn initialization(pod: &Value, total: usize, sidecars: &[&str], summary: &mut Summary) -> bool {
    for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        summary.count_restarts(status);
        let sidecar = sidecars.contains(&text(status, "/name"));
        let terminated = status.pointer("/state/terminated");
        if terminated.is_some_and(|t| number(t, "/exitCode") == 0) {
            continue;
        }
        if sidecar && flag(status, "/started") {
            summary.ready += usize::from(flag(status, "/ready"));
            continue;
        }
        let waiting = text(status, "/state/waiting/reason");
        summary.reason = match terminated {
            Some(terminated) => format!("Init:{}", ended(terminated)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{index}/{total}"),
        };
        return true;
    }
    false
}

fn running(pod: &Value, sidecars: &[&str], summary: &mut Summary) {
    summary.restarts = 0;
    for status in list(pod, "/status/initContainerStatuses") {
        if sidecars.contains(&text(status, "/name")) {
            summary.count_restarts(status);
        }
    }
    let mut any_running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        summary.count_restarts(status);
        let waiting = text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if let Some(terminated) = status.pointer("/state/terminated") {
            summary.reason = ended(terminated);
        } else if flag(status, "/ready") && status.pointer("/state/running").is_some() {
            any_running = true;
            summary.ready += 1;
        }
    }
    // One container has completed and another still runs: the pod itself isn't completed.
    if summary.reason == "Completed" && any_running {
        let ready = condition(pod, "Ready") == Some("True");
        summary.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

fn ended(terminated: &Value) -> String {
    match (text(terminated, "/reason"), number(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let met = gates
        .iter()
        .filter(|g| condition(pod, text(g, "/conditionType")) == Some("True"))
        .count();
    format!("{met}/{}", gates.len())
}

#[cfg(test)]
mod tests {
    use super::PODS;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    fn cells(pod: &Value) -> Vec<String> {
        let now = Timestamp::from_second(1_000).expect("in range");
        (PODS.cells)(pod, now)
            .iter()
            .map(|c| c.as_str().expect("text").to_owned())
            .collect()
    }

    fn pod(spec: Value, status: Value) -> Value {
        json!({"metadata": {"name": "p", "creationTimestamp": "1970-01-01T00:16:00Z"}, "spec": spec, "status": status})
    }

    #[test]
    fn a_running_pod_shows_its_ready_containers_and_restarts() {
        let object = pod(
            json!({"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n1"}),
            json!({"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [
                {"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}},
                 "lastState": {"terminated": {"finishedAt": "1970-01-01T00:16:30Z"}}},
                {"name": "b", "ready": false, "restartCount": 0, "state": {"running": {}}},
            ]}),
        );
        assert_eq!(
            cells(&object),
            [
                "p",
                "1/2",
                "Running",
                "2 (10s ago)",
                "40s",
                "10.0.0.1",
                "n1",
                "<none>",
                "<none>"
            ]
        );
    }

    #[test]
    fn the_reason_of_the_first_troubled_container_is_the_status() {
        let spec = json!({"containers": [{"name": "a"}]});
        let waiting = |reason: &str| json!({"phase": "Pending", "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": reason}}}]});
        assert_eq!(
            cells(&pod(spec.clone(), waiting("CrashLoopBackOff")))[2],
            "CrashLoopBackOff"
        );
        let ended = json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 3}}}]});
        assert_eq!(cells(&pod(spec, ended))[2], "ExitCode:3");
    }

    #[test]
    fn an_init_container_is_counted_until_it_is_done() {
        let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
        let status = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]});
        assert_eq!(cells(&pod(spec, status))[2], "Init:1/2");
    }

    #[test]
    fn a_deleted_pod_is_terminating_until_it_is_terminal() {
        let mut object = pod(
            json!({"containers": [{"name": "a"}]}),
            json!({"phase": "Running"}),
        );
        object["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:16:30Z");
        assert_eq!(cells(&object)[2], "Terminating");
        object["status"]["phase"] = json!("Succeeded");
        assert_eq!(cells(&object)[2], "Succeeded");
    }
}
