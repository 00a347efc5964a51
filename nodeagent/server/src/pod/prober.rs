//! The probes of one pod: a task for each container and kind, alive while its result is wanted.

use super::handlers;
use super::sources;
use super::worker::Command;
use crate::context::Context;
use kubeclient::EventKind;
use nodeagent_core::{
    ContainerKind, HandlerTarget, PodMemory, PodModel, PodObservation, ProbeKind, ProbeOutcome,
    ProbeSettings, ProbeTracker, handler_target, probe_settings,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;

pub(super) struct Probers {
    context: Arc<Context>,
    commands: mpsc::Sender<Command>,
    /// By container id and kind.
    tasks: BTreeMap<(String, ProbeKind), AbortOnDropHandle<()>>,
}

struct Probe {
    context: Arc<Context>,
    commands: mpsc::Sender<Command>,
    model: Arc<PodModel>,
    container: String,
    id: String,
    kind: ProbeKind,
    target: HandlerTarget,
    settings: ProbeSettings,
    pod_ips: Vec<String>,
    delay: std::time::Duration,
}

impl Probers {
    pub fn new(context: Arc<Context>, commands: mpsc::Sender<Command>) -> Self {
        Self {
            context,
            commands,
            tasks: BTreeMap::new(),
        }
    }

    /// Starts the probes that are wanted now and ends the others.
    pub fn sync(
        &mut self,
        model: &Arc<PodModel>,
        observed: &PodObservation,
        memory: &PodMemory,
        finished: bool,
    ) {
        let mut wanted = Vec::new();
        let terminating = memory.is_terminating(model);
        for container in &model.containers {
            let name = container.name();
            let Some(latest) = observed.latest(name).filter(|c| c.is_running()) else {
                continue;
            };
            let kind_fits = matches!(container.kind, ContainerKind::Regular | ContainerKind::Sidecar);
            if finished || !kind_fits || memory.starting.contains(name) {
                continue;
            }
            let (startup, _, _) = memory.probes(name, &latest.id);
            let started = container.spec.startup_probe.is_none() || startup == Some(true);
            for kind in [ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness] {
                let now = match kind {
                    ProbeKind::Startup => !terminating && startup.is_none(),
                    ProbeKind::Readiness => started,
                    ProbeKind::Liveness => started && !terminating,
                };
                if now && kind.of(container).is_some() {
                    wanted.push((container, latest, kind));
                }
            }
        }
        self.tasks
            .retain(|(id, kind), _| wanted.iter().any(|(_, c, k)| c.id == *id && k == kind));
        for (container, latest, kind) in wanted {
            let key = (latest.id.clone(), kind);
            if self.tasks.contains_key(&key) {
                continue;
            }
            let Some(spec) = kind.of(container) else { continue };
            let Some(target) = handler_target(spec, container) else {
                continue;
            };
            let settings = probe_settings(spec);
            let ran = latest
                .started_at
                .map(|at| self.context.env.clock.now().duration_since(at))
                .and_then(|ran| std::time::Duration::try_from(ran).ok())
                .unwrap_or_default();
            let probe = Probe {
                context: Arc::clone(&self.context),
                commands: self.commands.clone(),
                model: Arc::clone(model),
                container: container.name().to_owned(),
                id: latest.id.clone(),
                kind,
                target,
                delay: settings.initial_delay.saturating_sub(ran),
                settings,
                pod_ips: sources::pod_ips(&self.context, model, observed),
            };
            let task = AbortOnDropHandle::new(tokio::spawn(probe.run()));
            self.tasks.insert(key, task);
        }
    }
}

impl Probe {
    async fn run(self) {
        let mut tracker = ProbeTracker::default();
        let mut told = None;
        let mut ticks = interval_at(Instant::now() + self.delay, self.settings.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let outcome = handlers::probe(
                &self.context,
                &self.id,
                &self.pod_ips,
                &self.target,
                self.settings.timeout,
            )
            .await;
            self.tell_people(&outcome);
            let Some(success) = tracker.record(&outcome, &self.settings) else {
                continue;
            };
            if told == Some(success) {
                continue;
            }
            told = Some(success);
            let command = Command::Probe {
                container: self.container.clone(),
                id: self.id.clone(),
                kind: self.kind,
                success,
            };
            if self.commands.send(command).await.is_err() {
                return;
            }
        }
    }

    fn tell_people(&self, outcome: &ProbeOutcome) {
        let text = match outcome {
            ProbeOutcome::Success => return,
            ProbeOutcome::Failure(text) => format!("{} probe failed: {text}", self.kind.title()),
            ProbeOutcome::Unknown(text) => format!("{} probe errored: {text}", self.kind.title()),
        };
        self.context.event(
            &self.model,
            Some(&self.container),
            EventKind::Warning,
            "Unhealthy",
            text,
        );
    }
}
