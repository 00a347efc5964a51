//! Probes: what to ask, how often, and when an answer counts.
//!
//! Follows kubelet `pkg/kubelet/prober/worker.go`: a result counts after `successThreshold` or
//! `failureThreshold` equal answers in a row; readiness starts as failed, liveness as passed, startup as
//! unknown, and the other two wait for startup.

use crate::pod_model::PodContainer;
use k8s_openapi::api::core::v1::{
    ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

impl ProbeKind {
    pub fn of(self, container: &PodContainer) -> Option<&Probe> {
        match self {
            Self::Startup => container.spec.startup_probe.as_ref(),
            Self::Readiness => container.spec.readiness_probe.as_ref(),
            Self::Liveness => container.spec.liveness_probe.as_ref(),
        }
    }

    /// As it stands in the message of `Unhealthy` events.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// The answer to one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    Success,
    /// With what was seen instead.
    Failure(String),
    /// The probe could not be asked; changes nothing.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSettings {
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub success_threshold: u32,
    pub failure_threshold: u32,
}

pub fn probe_settings(probe: &Probe) -> ProbeSettings {
    let at_least_one = |value: Option<i32>, default: u32| {
        value
            .and_then(|v| u32::try_from(v).ok())
            .filter(|v| *v > 0)
            .unwrap_or(default)
    };
    let seconds = |value: u32| Duration::from_secs(u64::from(value));
    ProbeSettings {
        initial_delay: seconds(
            probe
                .initial_delay_seconds
                .and_then(|v| u32::try_from(v).ok())
                .unwrap_or(0),
        ),
        period: seconds(at_least_one(probe.period_seconds, 10)),
        timeout: seconds(at_least_one(probe.timeout_seconds, 1)),
        success_threshold: at_least_one(probe.success_threshold, 1),
        failure_threshold: at_least_one(probe.failure_threshold, 3),
    }
}

/// Counts equal answers in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeTracker {
    last: Option<bool>,
    run: u32,
}

impl ProbeTracker {
    /// The new result, when this answer settles one.
    pub fn record(&mut self, outcome: &ProbeOutcome, settings: &ProbeSettings) -> Option<bool> {
        let success = match outcome {
            ProbeOutcome::Success => true,
            ProbeOutcome::Failure(_) => false,
            ProbeOutcome::Unknown(_) => return None,
        };
        if self.last == Some(success) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(success);
            self.run = 1;
        }
        let needed = if success {
            settings.success_threshold
        } else {
            settings.failure_threshold
        };
        (self.run >= needed).then_some(success)
    }
}

/// Where a probe or a hook goes.
#[derive(Debug, Clone, PartialEq)]
pub enum HandlerTarget {
    Exec(Vec<String>),
    Http {
        https: bool,
        /// `None`: the pod's address.
        host: Option<String>,
        port: u16,
        path: String,
        headers: Vec<(String, String)>,
    },
    Tcp {
        host: Option<String>,
        port: u16,
    },
    Grpc {
        port: u16,
        service: String,
    },
    Sleep(Duration),
}

/// Actions of probes and hooks in one shape.
pub trait Handler {
    fn exec(&self) -> Option<&ExecAction>;
    fn http_get(&self) -> Option<&HTTPGetAction>;
    fn tcp_socket(&self) -> Option<&TCPSocketAction>;
    fn grpc(&self) -> Option<&GRPCAction> {
        None
    }
    fn sleep_seconds(&self) -> Option<i64> {
        None
    }
}

impl Handler for Probe {
    fn exec(&self) -> Option<&ExecAction> {
        self.exec.as_ref()
    }
    fn http_get(&self) -> Option<&HTTPGetAction> {
        self.http_get.as_ref()
    }
    fn tcp_socket(&self) -> Option<&TCPSocketAction> {
        self.tcp_socket.as_ref()
    }
    fn grpc(&self) -> Option<&GRPCAction> {
        self.grpc.as_ref()
    }
}

impl Handler for LifecycleHandler {
    fn exec(&self) -> Option<&ExecAction> {
        self.exec.as_ref()
    }
    fn http_get(&self) -> Option<&HTTPGetAction> {
        self.http_get.as_ref()
    }
    fn tcp_socket(&self) -> Option<&TCPSocketAction> {
        self.tcp_socket.as_ref()
    }
    fn sleep_seconds(&self) -> Option<i64> {
        self.sleep.as_ref().map(|s| s.seconds)
    }
}

/// `None`: no action, or a port that does not exist.
pub fn handler_target(handler: &impl Handler, container: &PodContainer) -> Option<HandlerTarget> {
    if let Some(exec) = handler.exec() {
        return Some(HandlerTarget::Exec(exec.command.clone().unwrap_or_default()));
    }
    if let Some(http) = handler.http_get() {
        let path = http.path.clone().unwrap_or_else(|| "/".to_owned());
        return Some(HandlerTarget::Http {
            https: http.scheme.as_deref() == Some("HTTPS"),
            host: http.host.clone().filter(|h| !h.is_empty()),
            port: resolve_port(&http.port, container)?,
            path: if path.starts_with('/') {
                path
            } else {
                format!("/{path}")
            },
            headers: http
                .http_headers
                .iter()
                .flatten()
                .map(|h| (h.name.clone(), h.value.clone()))
                .collect(),
        });
    }
    if let Some(tcp) = handler.tcp_socket() {
        return Some(HandlerTarget::Tcp {
            host: tcp.host.clone().filter(|h| !h.is_empty()),
            port: resolve_port(&tcp.port, container)?,
        });
    }
    if let Some(grpc) = handler.grpc() {
        return Some(HandlerTarget::Grpc {
            port: u16::try_from(grpc.port).ok()?,
            service: grpc.service.clone().unwrap_or_default(),
        });
    }
    let seconds = u64::try_from(handler.sleep_seconds()?).ok()?;
    Some(HandlerTarget::Sleep(Duration::from_secs(seconds)))
}

/// A number, or the name of one of the container's ports.
pub fn resolve_port(port: &IntOrString, container: &PodContainer) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok().filter(|p| *p > 0),
        IntOrString::String(name) => {
            let mut ports = container.spec.ports.iter().flatten();
            let named = ports.find(|p| p.name.as_deref() == Some(name));
            match named {
                Some(port) => u16::try_from(port.container_port).ok(),
                None => name.parse().ok().filter(|p| *p > 0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ProbeOutcome, ProbeTracker, probe_settings};
    use k8s_openapi::api::core::v1::Probe;

    #[test]
    fn a_result_needs_as_many_equal_answers_in_a_row_as_its_threshold_says() {
        let settings = probe_settings(&Probe {
            failure_threshold: Some(2),
            ..Probe::default()
        });
        let mut tracker = ProbeTracker::default();
        let failure = ProbeOutcome::Failure("no".to_owned());
        assert_eq!(tracker.record(&failure, &settings), None);
        assert_eq!(tracker.record(&ProbeOutcome::Success, &settings), Some(true));
        assert_eq!(tracker.record(&failure, &settings), None);
        assert_eq!(
            tracker.record(&ProbeOutcome::Unknown(String::new()), &settings),
            None
        );
        assert_eq!(tracker.record(&failure, &settings), Some(false));
    }
}
