//! The task that owns one pod: it plans, starts the actions, and takes in what came of them.
//!
//! - One worker a pod UID; it ends when nothing of the pod is left here and in the API.
//! - Actions run beside each other and beside the worker; their results come back as [`Done`].
//! - Nothing is planned before the pod was observed after the last action: no action is given twice.

use super::prober::Probers;
use super::status_writer::{self, Written};
use super::step::Step;
use super::steps::{self, Done, Shared};
use crate::context::Context;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use nodeagent_core::{Action, ContainerState, Plan, PodMemory, PodModel, PodObservation, ProbeKind, plan};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// When the runtime or the API server fails, how long until the next try.
const RETRY: Duration = Duration::from_secs(1);
/// Nothing happened, yet look again: a lost notification must not wedge a pod.
const RESYNC: Duration = Duration::from_secs(60);

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    Pod(Arc<Pod>),
    /// The object is gone from the API server.
    Gone,
    /// Something of the pod changed in the runtime.
    Look,
    Probe {
        container: String,
        id: String,
        kind: ProbeKind,
        success: bool,
    },
    /// Stop the pod for good: eviction by the node itself.
    Evict {
        reason: String,
        message: String,
    },
}

/// What the HTTP endpoints see of a pod.
#[derive(Debug, Clone)]
pub(crate) struct PodView {
    pub model: Arc<PodModel>,
    pub observed: PodObservation,
    pub status: PodStatus,
}

pub(crate) struct Worker {
    context: Arc<Context>,
    model: Arc<PodModel>,
    observed: PodObservation,
    memory: PodMemory,
    shared: Arc<Shared>,
    probers: Probers,
    tasks: JoinSet<Done>,
    view: watch::Sender<Option<PodView>>,
    sent: Option<PodStatus>,
    writing: bool,
    finalized: bool,
    /// The observation is older than an action's end.
    stale: bool,
    retry_at: Option<Instant>,
    /// The last write of the status failed: none before this.
    write_after: Option<Instant>,
    /// An action failed that would be planned again at once: nothing is planned before this.
    plan_after: Option<Instant>,
}

impl Worker {
    pub fn new(
        context: Arc<Context>,
        pod: Arc<Pod>,
        removed: bool,
        commands: mpsc::Sender<Command>,
        view: watch::Sender<Option<PodView>>,
    ) -> Self {
        Self {
            probers: Probers::new(Arc::clone(&context), commands),
            model: Arc::new(PodModel::new(pod)),
            observed: PodObservation::default(),
            memory: PodMemory {
                removed,
                ..PodMemory::default()
            },
            shared: Arc::new(Shared::default()),
            tasks: JoinSet::new(),
            view,
            sent: None,
            writing: false,
            finalized: false,
            stale: true,
            retry_at: None,
            write_after: None,
            plan_after: None,
            context,
        }
    }

    /// Until nothing of the pod is left.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut refresh = tokio::time::interval_at(
            Instant::now() + self.refresh_delay(),
            self.context.config.volume_refresh,
        );
        loop {
            self.look().await;
            // Asked once: what is put off in this round is waited for in this round.
            let now = Instant::now();
            let rests = self.plan_after.is_some_and(|at| at > now);
            let wake = if self.stale || rests {
                None
            } else {
                self.step().await
            };
            if self.finalized && self.memory.removed && self.tasks.is_empty() {
                return;
            }
            let wake = wake
                .and_then(|w| Duration::try_from(w).ok())
                .unwrap_or(RESYNC)
                .min(RESYNC);
            let mut wake = Instant::now() + wake;
            if let Some(retry) = self.retry_at.take() {
                wake = wake.min(retry);
            }
            for later in [self.write_after, self.plan_after].into_iter().flatten() {
                if later > now {
                    wake = wake.min(later);
                }
            }
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => match done {
                    Ok(done) => self.take_in(done),
                    Err(error) => {
                        tracing::error!(pod = %self.model.name, %error, "an action of a pod panicked");
                        self.memory = PodMemory { removed: self.memory.removed, ..PodMemory::default() };
                        self.stale = true;
                    }
                },
                _ = refresh.tick() => self.refresh_volumes(),
                () = sleep_until(wake) => self.stale = true,
            }
            // Take what else is there before planning again.
            while let Ok(command) = commands.try_recv() {
                self.obey(command);
            }
        }
    }

    fn refresh_delay(&self) -> Duration {
        self.context
            .env
            .random
            .jitter(self.context.config.volume_refresh, 0.5)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Pod(pod) => self.set_pod(pod),
            Command::Gone => self.memory.removed = true,
            Command::Look => self.stale = true,
            Command::Probe {
                container,
                id,
                kind,
                success,
            } => {
                let memory = self.memory.container(&container);
                if memory.probed_id == id {
                    match kind {
                        ProbeKind::Startup => memory.startup = Some(success),
                        ProbeKind::Readiness => memory.ready = Some(success),
                        ProbeKind::Liveness => memory.live = Some(success),
                    }
                }
            }
            Command::Evict { reason, message } => {
                self.memory.cause.get_or_insert(nodeagent_core::TerminationCause {
                    reason,
                    message,
                    grace_seconds: Some(0),
                });
            }
        }
    }

    /// Versions only go forward: our own write may come back before the watch tells of an older one.
    fn set_pod(&mut self, pod: Arc<Pod>) {
        let version = |pod: &Pod| -> u64 {
            let text = pod.metadata.resource_version.as_deref();
            text.and_then(|v| v.parse().ok()).unwrap_or(u64::MAX)
        };
        if version(&pod) >= version(&self.model.pod) || self.model.pod.metadata.resource_version.is_none() {
            self.model = Arc::new(PodModel::new(pod));
        }
    }

    async fn look(&mut self) {
        if !self.stale {
            return;
        }
        match self.context.runtime.observe(&self.model.uid).await {
            Ok(observed) => {
                self.observed = observed;
                self.stale = false;
                self.read_termination_messages().await;
            }
            Err(error) => {
                tracing::debug!(pod = %self.model.name, %error, "the runtime does not answer");
                self.retry_at = Some(Instant::now() + RETRY);
            }
        }
    }

    async fn read_termination_messages(&mut self) {
        let ended: Vec<_> = self
            .observed
            .containers
            .iter()
            .filter(|c| c.state == ContainerState::Exited)
            .cloned()
            .collect();
        for container in ended {
            let known = self
                .memory
                .container(&container.name)
                .termination_messages
                .clone();
            if known.contains_key(&container.id) {
                continue;
            }
            let message = steps::termination_message(&self.context, &self.model, &container).await;
            self.memory
                .container(&container.name)
                .termination_messages
                .insert(container.id.clone(), message);
        }
        for (name, memory) in &mut self.memory.containers {
            let alive = |id: &String| self.observed.attempts(name).any(|c| c.id == *id);
            memory.termination_messages.retain(|id, _| alive(id));
        }
    }

    async fn step(&mut self) -> Option<SignedDuration> {
        let now = self.context.now();
        let plan = plan(
            &self.model,
            &self.observed,
            &mut self.memory,
            &self.context.status_inputs(),
            now,
        );
        self.view.send_replace(Some(PodView {
            model: Arc::clone(&self.model),
            observed: self.observed.clone(),
            status: plan.status.clone(),
        }));
        self.probers
            .sync(&self.model, &self.observed, &self.memory, plan.finished);
        self.write_status(&plan);
        for action in &plan.actions {
            self.start(action.clone(), &plan);
        }
        plan.wake_after
    }

    fn write_status(&mut self, plan: &Plan) {
        if self.write_after.is_some_and(|at| at > Instant::now()) {
            return;
        }
        self.write_after = None;
        if self.writing || self.memory.removed || self.memory.finalizing || self.model.uid.is_empty() {
            return;
        }
        let last = self.sent.as_ref().or(self.model.pod.status.as_ref());
        if last == Some(&plan.status) {
            return;
        }
        self.writing = true;
        let (context, model, status) = (
            Arc::clone(&self.context),
            Arc::clone(&self.model),
            plan.status.clone(),
        );
        self.tasks.spawn(async move {
            let result = status_writer::write(&context, &model.pod, &status).await;
            Done::Status {
                status: Box::new(status),
                result,
            }
        });
    }

    fn start(&mut self, action: Action, plan: &Plan) {
        let step = Step {
            context: Arc::clone(&self.context),
            model: Arc::clone(&self.model),
            shared: Arc::clone(&self.shared),
            observed: self.observed.clone(),
            removed: self.memory.removed,
            status: plan.status.clone(),
        };
        self.tasks.spawn(step.perform(action));
    }

    fn take_in(&mut self, done: Done) {
        let now = self.context.now();
        // A volume refresh or a status write says nothing about containers.
        match done {
            Done::Sandbox(result) => {
                self.memory.busy.remove("sandbox");
                self.memory.sandbox_waiting = result.err().map(|failure| failure.waiting(now));
                self.stale = true;
            }
            Done::Started { name, result } => {
                self.memory.starting.remove(&name);
                let waiting = result.err().map(|failure| failure.waiting(now));
                self.memory.container(&name).waiting = waiting;
                self.stale = true;
            }
            Done::Stopped { id, ok } => {
                if !ok {
                    self.memory.stopping.remove(&id);
                    self.plan_after = Some(Instant::now() + RETRY);
                }
                self.stale = true;
            }
            Done::Free { id } => {
                self.memory.busy.remove(&id);
                self.stale = true;
            }
            Done::Status { status, result } => {
                self.writing = false;
                match result {
                    Written::Yes(pod) => {
                        self.sent = Some(*status);
                        self.set_pod(pod);
                    }
                    Written::Gone => self.sent = Some(*status),
                    Written::No => self.write_after = Some(Instant::now() + RETRY),
                }
            }
            Done::Refreshed => {}
            Done::Finalized { ok } => {
                self.finalized = ok;
                if !ok {
                    self.memory.finalizing = false;
                    self.plan_after = Some(Instant::now() + RETRY);
                }
            }
        }
    }

    fn refresh_volumes(&mut self) {
        if self.memory.is_terminating(&self.model) || !self.shared.has_volumes() {
            return;
        }
        let (context, model, shared) = (
            Arc::clone(&self.context),
            Arc::clone(&self.model),
            Arc::clone(&self.shared),
        );
        let ips = self
            .observed
            .latest_sandbox()
            .map(|s| s.ips.clone())
            .unwrap_or_default();
        self.tasks.spawn(async move {
            if let Err(error) = shared.volumes.refresh(&context, &model, &ips).await {
                tracing::debug!(pod = %model.name, %error, "volumes stay as they are");
            }
            Done::Refreshed
        });
    }
}
