//! Workers by pod: makes them, feeds them, forgets them.
//!
//! What makes a worker: a pod bound to this node, or something in the runtime that no pod accounts for (it
//! is taken away). Orphans are only believed after the first complete list of pods.

use super::worker::{Command, PodView, Worker};
use crate::context::Context;
use crate::runtime::PodSummary;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubeclient::{Change, Informer};
use nodeagent_core::rejection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Commands that wait for one worker. A worker is slow only while the runtime is; then its manager waits
/// too, and takes the latest state after.
const COMMAND_BACKLOG: usize = 64;

struct Handle {
    /// As it was first seen: what a pod requests is what it was bound with.
    pod: Arc<Pod>,
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<Option<PodView>>,
}

pub(crate) struct PodManager {
    context: Arc<Context>,
    workers: Mutex<BTreeMap<String, Handle>>,
}

impl PodManager {
    pub fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            workers: Mutex::new(BTreeMap::new()),
        }
    }

    /// The pod of that name, if it is here. The newest one, when an older is still going away.
    pub fn find(&self, namespace: &str, name: &str) -> Option<PodView> {
        let mut found: Vec<PodView> = self
            .views()
            .into_iter()
            .filter(|v| v.model.namespace == namespace && v.model.name == name)
            .collect();
        found.sort_by_key(|v| v.model.pod.metadata.creation_timestamp.clone().map(|t| t.0));
        found.pop()
    }

    /// Every pod here, by UID.
    pub fn views(&self) -> Vec<PodView> {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.values().filter_map(|h| h.view.borrow().clone()).collect()
    }

    /// Until cancelled. Pods keep running after.
    pub async fn run(self: Arc<Self>, pods: Informer<Pod>, cancel: CancellationToken) {
        let mut tasks: JoinSet<String> = JoinSet::new();
        let mut changes = pods.subscribe();
        let mut overview: BTreeMap<String, PodSummary> = BTreeMap::new();
        let mut ticks = interval(self.context.config.observe_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                change = changes.recv() => self.apply(change, &mut tasks).await,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Ok(uid) = ended {
                        self.forget(&uid);
                    }
                }
                _ = ticks.tick() => {
                    // Orphans can be told from pods only when all pods are known.
                    let complete = pods.store().is_synced();
                    self.compare(&mut overview, complete, &mut tasks).await;
                }
            }
        }
    }

    async fn apply(&self, change: Change<Pod>, tasks: &mut JoinSet<String>) {
        let uid = |pod: &Arc<Pod>| pod.metadata.uid.clone().unwrap_or_default();
        let old = change.old.as_ref().map(uid);
        let new = change.new.as_ref().map(uid);
        if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
            self.send(&old, Command::Gone).await;
        }
        if let Some(pod) = change.new {
            self.update(pod, tasks).await;
        }
    }

    async fn update(&self, pod: Arc<Pod>, tasks: &mut JoinSet<String>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if self.send(&uid, Command::Pod(Arc::clone(&pod))).await {
            return;
        }
        let refusal = self.refusal(&pod);
        self.spawn(uid.clone(), pod, false, tasks);
        if let Some((reason, message)) = refusal {
            self.send(&uid, Command::Evict { reason, message }).await;
        }
    }

    /// Why a pod that has not run yet may not run here.
    fn refusal(&self, pod: &Pod) -> Option<(String, String)> {
        let phase = |pod: &Pod| pod.status.as_ref().and_then(|s| s.phase.clone());
        if phase(pod).is_some_and(|p| p != "Pending") || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let active = workers.values().filter(|handle| {
            let view = handle.view.borrow();
            let ended = view.as_ref().and_then(|v| v.status.phase.clone());
            let ended = ended.or_else(|| phase(&handle.pod));
            !matches!(ended.as_deref(), Some("Succeeded" | "Failed"))
        });
        let others: Vec<Arc<Pod>> = active.map(|handle| Arc::clone(&handle.pod)).collect();
        drop(workers);
        rejection(pod, others.iter().map(AsRef::as_ref), &self.context.allocatable())
    }

    fn spawn(&self, uid: String, pod: Arc<Pod>, removed: bool, tasks: &mut JoinSet<String>) {
        let (commands, receiver) = mpsc::channel(COMMAND_BACKLOG);
        let (view, views) = watch::channel(None);
        let worker = Worker::new(
            Arc::clone(&self.context),
            Arc::clone(&pod),
            removed,
            commands.clone(),
            view,
        );
        let handle = Handle {
            pod,
            commands,
            view: views,
        };
        self.workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid.clone(), handle);
        tasks.spawn(async move {
            worker.run(receiver).await;
            uid
        });
    }

    fn forget(&self, uid: &str) {
        self.workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }

    /// False when there is no such worker.
    async fn send(&self, uid: &str, command: Command) -> bool {
        let commands = {
            let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
            workers.get(uid).map(|h| h.commands.clone())
        };
        match commands {
            Some(commands) => commands.send(command).await.is_ok(),
            None => false,
        }
    }

    /// Tells workers whose containers changed to look again; takes in what belongs to no pod.
    async fn compare(
        &self,
        overview: &mut BTreeMap<String, PodSummary>,
        complete: bool,
        tasks: &mut JoinSet<String>,
    ) {
        let present = match self.context.runtime.list_pods().await {
            Ok(present) => present,
            Err(error) => {
                tracing::debug!(%error, "the runtime does not answer");
                return;
            }
        };
        for (uid, summary) in &present {
            if overview.get(uid) == Some(summary) {
                continue;
            }
            if !self.send(uid, Command::Look).await && complete {
                tracing::info!(pod = %summary.name, namespace = %summary.namespace, %uid, "taking away a pod that is no more");
                self.spawn(uid.clone(), Arc::new(orphan(uid, summary)), true, tasks);
            }
        }
        for uid in overview.keys().filter(|uid| !present.contains_key(*uid)) {
            self.send(uid, Command::Look).await;
        }
        if complete {
            *overview = present;
        }
    }
}

/// What is known of a pod from its labels alone.
fn orphan(uid: &str, summary: &PodSummary) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(summary.name.clone()),
            namespace: Some(summary.namespace.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec::default()),
        ..Pod::default()
    }
}
