//! One term of leadership: the loop that owns the picture of the cluster and decides.

mod changes;

use crate::binding::{Binding, Outcome, bind};
use crate::pod_status::{self, StatusChange};
use crate::scheduler::SchedulerConfig;
use crate::watches::Watches;
use crate::{groups, preempting};
use changes::Subscriptions;
use k8s_openapi::api::core::v1::ObjectReference;
use kubeclient::{EventKind, EventRecorder, Leadership};
use scheduler_core::{
    Attempt, Budget, Cluster, NoFit, Plugins, PodInfo, SchedulingQueue, Selector, Volumes, preempt, schedule,
    waits_for_victims,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::Env;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Bindings under way at once: enough to hide the store's round trip at thousands a second, few enough for the
/// streams that one HTTP/2 connection carries. When full, decisions wait.
const MAX_BINDINGS: usize = 100;
/// Status writes and evictions under way at once; beyond it they are left to the pod's next attempt.
const MAX_REPORTS: usize = 32;
/// Decisions between two looks at what changed.
const DECISIONS_PER_TURN: usize = 32;

/// A new leader that acts on its copies as they are; see `Env::sabotage`.
const TRUSTS_WARM_CACHES: &str = "trusts-warm-caches";

pub(crate) struct Leading {
    client: kube::Client,
    scheduler_name: String,
    env: Env,
    watches: Watches,
    events: EventRecorder,
    leadership: Leadership,
    started: Instant,

    cluster: Cluster,
    volumes: Volumes,
    queue: SchedulingQueue,
    /// Pods that room was made for, and where.
    nominated: BTreeMap<String, (Arc<PodInfo>, String)>,
    bindings: JoinSet<(Arc<Binding>, Outcome)>,
    reports: JoinSet<()>,
}

impl Leading {
    pub(crate) fn new(
        config: &SchedulerConfig,
        env: &Env,
        watches: &Watches,
        events: EventRecorder,
        leadership: Leadership,
    ) -> Self {
        Self {
            client: config.client.clone(),
            scheduler_name: config.scheduler_name.clone(),
            env: env.clone(),
            watches: watches.clone(),
            events,
            leadership,
            started: Instant::now(),
            cluster: Cluster::default(),
            volumes: Volumes::default(),
            queue: SchedulingQueue::default(),
            nominated: BTreeMap::new(),
            bindings: JoinSet::new(),
            reports: JoinSet::new(),
        }
    }

    /// Decides until dropped.
    pub(crate) async fn run(mut self) {
        if self.env.sabotage.is(TRUSTS_WARM_CACHES) {
            self.watches.synced().await;
        } else {
            // The copies may not show the last bindings of the leader before.
            self.watches.refreshed().await;
        }
        let mut changes = Subscriptions::new(&self.watches);
        loop {
            self.take_in(&mut changes);
            while let Some(done) = self.bindings.try_join_next() {
                self.finish(done);
            }
            while self.reports.try_join_next().is_some() {}
            for _ in 0..DECISIONS_PER_TURN {
                if self.bindings.len() >= MAX_BINDINGS {
                    break;
                }
                let now = self.now();
                let Some(attempt) = self.queue.pop(now) else {
                    break;
                };
                self.attempt(attempt);
            }
            if self.queue.has_ready() && self.bindings.len() < MAX_BINDINGS {
                // Bindings and informers need their turn too.
                tokio::task::yield_now().await;
                continue;
            }
            let wake_at = match self.queue.next_at() {
                Some(at) => self.started + at,
                None => Instant::now() + Duration::from_secs(3600),
            };
            tokio::select! {
                biased;
                Some(done) = self.bindings.join_next(), if !self.bindings.is_empty() => self.finish(done),
                () = changes.ready() => {}
                () = tokio::time::sleep_until(wake_at), if self.bindings.len() < MAX_BINDINGS => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn attempt(&mut self, attempt: Attempt) {
        let pod = attempt.pod;
        let group = if pod.spread.is_empty() {
            groups::selector(&self.watches, &pod)
        } else {
            None
        };
        let nominated: Vec<(Arc<PodInfo>, String)> = self.nominated.values().cloned().collect();
        let random = self.env.random.clone();
        let decision = schedule(
            &mut self.cluster,
            &self.volumes,
            &pod,
            group.as_ref(),
            &nominated,
            |count| if count > 1 { random.below(0..count) } else { 0 },
        );
        match decision {
            Ok(node) => self.start_binding(pod, node),
            Err(no_fit) => self.refuse(&pod, &no_fit),
        }
    }

    fn start_binding(&mut self, pod: Arc<PodInfo>, node: String) {
        let volumes = self
            .cluster
            .node(&node)
            .map(|info| self.volumes.actions(&pod, &node, info))
            .unwrap_or_default();
        if !self.env.sabotage.is("assumption-forgotten") {
            self.cluster.assume(&pod, &node);
        }
        let binding = Arc::new(Binding { pod, node, volumes });
        let (client, leadership) = (self.client.clone(), self.leadership.clone());
        let claims = self.watches.claims.store().clone();
        self.bindings.spawn(async move {
            let outcome = bind(client, leadership, claims, Arc::clone(&binding)).await;
            (binding, outcome)
        });
    }

    fn finish(&mut self, done: Result<(Arc<Binding>, Outcome), tokio::task::JoinError>) {
        let Ok((binding, outcome)) = done else {
            return;
        };
        let (pod, now) = (&binding.pod, self.now());
        match outcome {
            Outcome::Bound => {
                self.queue.remove(&pod.key);
                self.nominated.remove(&pod.key);
                let message = format!("Successfully assigned {} to {}", pod.key, binding.node);
                self.events
                    .event(reference(pod), EventKind::Normal, "Scheduled", message);
            }
            Outcome::Refused(message) => {
                self.cluster.forget(&pod.key);
                self.queue.failed(&pod.key, now);
                self.queue.wake(freed_by_pod(), now);
                tracing::debug!(pod = pod.key, node = binding.node, message, "not bound");
                self.events
                    .event(reference(pod), EventKind::Warning, "FailedScheduling", message);
            }
            Outcome::Unknown => {}
        }
    }

    fn refuse(&mut self, pod: &Arc<PodInfo>, no_fit: &NoFit) {
        let mut plugins = no_fit.diagnosis.plugins();
        let mut message = no_fit.diagnosis.message();
        let budgets = self.budgets();
        let mut change = StatusChange::default();
        match preempt(
            &mut self.cluster,
            &self.volumes,
            pod,
            &budgets,
            &no_fit.candidates,
        ) {
            Some(preemption) if self.reports.len() < MAX_REPORTS => {
                tracing::info!(
                    pod = pod.key,
                    node = preemption.node,
                    victims = preemption.victims.len(),
                    "preempting"
                );
                for victim in &preemption.victims {
                    let message = format!("Preempted by pod {} on node {}", pod.uid, preemption.node);
                    self.events
                        .event(reference(victim), EventKind::Normal, "Preempted", message);
                }
                self.nominated
                    .insert(pod.key.clone(), (Arc::clone(pod), preemption.node.clone()));
                change.nominated_node = Some(preemption.node);
                // Any pod that leaves may be a victim.
                plugins = plugins.with(freed_by_pod());
                self.reports.spawn(preempting::evict(
                    self.client.clone(),
                    self.env.clone(),
                    self.leadership.clone(),
                    Arc::clone(pod),
                    preemption.victims,
                ));
            }
            Some(_) => {}
            None if waits_for_victims(&self.cluster, pod) => {}
            None => {
                message.push_str(&no_fit.diagnosis.preemption_message(no_fit.candidates.len()));
                if self.nominated.remove(&pod.key).is_some() || !pod.nominated_node.is_empty() {
                    change.nominated_node = Some(String::new());
                }
            }
        }
        self.events.event(
            reference(pod),
            EventKind::Warning,
            "FailedScheduling",
            message.clone(),
        );
        change.message = Some(message);
        self.report(pod, change);
        let now = self.now();
        self.queue.refused(&pod.key, plugins, now);
    }

    fn report(&mut self, pod: &Arc<PodInfo>, change: StatusChange) {
        let current = self.watches.pods.store().get(&pod.key);
        let Some(current) = current.filter(|current| current.metadata.uid.as_deref() == Some(&pod.uid))
        else {
            return;
        };
        if change.is_in(&current) || self.reports.len() >= MAX_REPORTS {
            return;
        }
        let was_false = current
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref())
            .is_some_and(|conditions| {
                conditions
                    .iter()
                    .any(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
            });
        let (client, env) = (self.client.clone(), self.env.clone());
        let (leadership, pod) = (self.leadership.clone(), Arc::clone(pod));
        self.reports.spawn(async move {
            let write = pod_status::write(client, env, &pod, &change, was_false);
            if let Ok(Err(error)) = leadership.fenced(write).await {
                tracing::debug!(
                    pod = pod.key,
                    error = &error as &dyn std::error::Error,
                    "status not written"
                );
            }
        });
    }

    fn budgets(&self) -> Vec<Budget> {
        self.watches
            .budgets
            .store()
            .list()
            .iter()
            .filter_map(|budget| {
                let selector = budget.spec.as_ref()?.selector.as_ref()?;
                Some(Budget {
                    namespace: budget.metadata.namespace.clone().unwrap_or_default(),
                    selector: Selector::from_label_selector(selector),
                    allowed: budget
                        .status
                        .as_ref()
                        .and_then(|status| status.disruptions_allowed)
                        .map_or(0, i64::from),
                })
            })
            .collect()
    }
}

/// The plugins that a pod leaving its node may satisfy.
const fn freed_by_pod() -> Plugins {
    Plugins::NODE_RESOURCES_FIT
        .with(Plugins::NODE_PORTS)
        .with(Plugins::POD_TOPOLOGY_SPREAD)
        .with(Plugins::INTER_POD_AFFINITY)
}

fn reference(pod: &PodInfo) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
        resource_version: Some(pod.resource_version.to_string()),
        field_path: None,
    }
}
