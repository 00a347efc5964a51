//! What the container runtime reports about one pod.

use jiff::Timestamp;

/// The state of a container as the CRI knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerState {
    Created,
    Running,
    Exited,
    Unknown,
}

/// A pod sandbox: the namespaces that the pod's containers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedSandbox {
    pub id: String,
    pub attempt: u32,
    pub ready: bool,
    pub created_at: Timestamp,
    /// Empty for host-network pods.
    pub ips: Vec<String>,
}

/// One attempt of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedContainer {
    pub id: String,
    pub sandbox_id: String,
    pub name: String,
    /// Counts from 0; the same number as the restart count.
    pub attempt: u32,
    pub state: ContainerState,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub image: String,
    pub image_id: String,
    /// The hash of the container's spec when it was created; see `PodContainer::hash`.
    pub spec_hash: String,
}

impl ObservedContainer {
    pub fn is_running(&self) -> bool {
        // Unknown counts as running: it must be stopped before anything else takes its place.
        matches!(self.state, ContainerState::Running | ContainerState::Unknown)
    }
}

/// Sandboxes and containers of one pod, in no particular order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodObservation {
    pub sandboxes: Vec<ObservedSandbox>,
    pub containers: Vec<ObservedContainer>,
}

impl PodObservation {
    pub fn latest_sandbox(&self) -> Option<&ObservedSandbox> {
        self.sandboxes
            .iter()
            .max_by_key(|s| (s.attempt, s.created_at, s.id.clone()))
    }

    /// The newest sandbox, if it can hold containers.
    pub fn ready_sandbox(&self) -> Option<&ObservedSandbox> {
        self.latest_sandbox().filter(|s| s.ready)
    }

    /// The newest attempt of a container.
    pub fn latest(&self, name: &str) -> Option<&ObservedContainer> {
        self.attempts(name).max_by_key(|c| (c.attempt, c.created_at))
    }

    /// The newest attempt inside one sandbox.
    pub fn latest_in(&self, name: &str, sandbox_id: &str) -> Option<&ObservedContainer> {
        self.attempts(name)
            .filter(|c| c.sandbox_id == sandbox_id)
            .max_by_key(|c| (c.attempt, c.created_at))
    }

    /// The newest finished attempt older than the newest one.
    pub fn previous(&self, name: &str) -> Option<&ObservedContainer> {
        let latest = self.latest(name)?;
        self.attempts(name)
            .filter(|c| c.id != latest.id && c.state == ContainerState::Exited)
            .max_by_key(|c| (c.attempt, c.created_at))
    }

    pub fn attempts<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a ObservedContainer> + use<'a, 'n> {
        self.containers.iter().filter(move |c| c.name == name)
    }

    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }
}
