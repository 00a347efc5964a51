//! Events: what components tell people about an object. Best effort, never in the way.
//!
//! Equal events are counted in one object instead of written anew, as client-go's `tools/record` does.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::Env;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Events that wait to be written; a burst beyond it is dropped, because an event must never slow its sender.
const BACKLOG: usize = 4096;
/// Writes under way at once.
const IN_FLIGHT: usize = 16;
/// An equal event within this time of the last one raises its count (client-go: 10 minutes).
const AGGREGATION: Duration = Duration::from_secs(600);
/// Remembered series; beyond it the least recent one is forgotten and starts anew (client-go: 4096).
const MAX_SERIES: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    Normal,
    Warning,
}

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Writes events in the background. Cheap to clone.
#[derive(Clone)]
pub struct EventRecorder {
    sender: mpsc::Sender<Occurrence>,
    _task: Arc<AbortOnDropHandle<()>>,
}

struct Occurrence {
    object: ObjectReference,
    kind: EventKind,
    reason: String,
    message: String,
}

impl EventRecorder {
    /// Events come from `component` (such as `default-scheduler`), on `host` when it matters which one. Must be
    /// called inside a tokio runtime.
    pub fn new(client: Client, env: &Env, component: &str, host: Option<&str>) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let writer = Writer {
            client,
            env: env.clone(),
            source: EventSource {
                component: Some(component.to_owned()),
                host: host.map(str::to_owned),
            },
            series: BTreeMap::new(),
            oldest: BTreeMap::new(),
            turn: 0,
        };
        let task = tokio::spawn(writer.run(receiver));
        Self {
            sender,
            _task: Arc::new(AbortOnDropHandle::new(task)),
        }
    }

    /// Tells something about `object`; see `kube::Resource::object_ref`. Never waits, may be dropped.
    pub fn event(
        &self,
        object: ObjectReference,
        kind: EventKind,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) {
        let occurrence = Occurrence {
            object,
            kind,
            reason: reason.into(),
            message: message.into(),
        };
        if self.sender.try_send(occurrence).is_err() {
            tracing::debug!("event dropped");
        }
    }
}

type SeriesKey = (String, String, String, EventKind, String, String);

struct Series {
    name: String,
    count: i32,
    last: Instant,
    turn: u64,
}

struct Writer {
    client: Client,
    env: Env,
    source: EventSource,
    series: BTreeMap<SeriesKey, Series>,
    /// The series by when they were last used.
    oldest: BTreeMap<u64, SeriesKey>,
    turn: u64,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Occurrence>) {
        let permits = Arc::new(Semaphore::new(IN_FLIGHT));
        while let Some(occurrence) = receiver.recv().await {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let (event, count) = self.count(occurrence);
            let client = self.client.clone();
            tokio::spawn(async move {
                if let Err(error) = write(client, event, count).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "event not written");
                }
                drop(permit);
            });
        }
    }

    /// The event object of `occurrence` and how often it has happened.
    fn count(&mut self, occurrence: Occurrence) -> (Event, i32) {
        let Occurrence {
            object,
            kind,
            reason,
            message,
        } = occurrence;
        let namespace = object.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let name = object.name.clone().unwrap_or_default();
        let key: SeriesKey = (
            namespace.clone(),
            name.clone(),
            object.uid.clone().unwrap_or_default(),
            kind,
            reason.clone(),
            message.clone(),
        );
        let now = Instant::now();
        self.turn += 1;
        if let Some(series) = self.series.get(&key) {
            self.oldest.remove(&series.turn);
        }
        let fresh = || Series {
            name: format!("{name}.{:016x}", self.env.random.u64()),
            count: 0,
            last: now,
            turn: 0,
        };
        let series = self.series.entry(key.clone()).or_insert_with(fresh);
        if now.duration_since(series.last) > AGGREGATION {
            *series = fresh();
        }
        series.count = series.count.saturating_add(1);
        series.last = now;
        series.turn = self.turn;
        self.oldest.insert(self.turn, key);
        let (event_name, count) = (series.name.clone(), series.count);
        while self.series.len() > MAX_SERIES {
            let Some((_, oldest)) = self.oldest.pop_first() else {
                break;
            };
            self.series.remove(&oldest);
        }
        let at = Time(whole_seconds(self.env.clock.now()));
        let event = Event {
            metadata: ObjectMeta {
                namespace: Some(namespace),
                name: Some(event_name),
                ..ObjectMeta::default()
            },
            involved_object: object,
            reason: Some(reason),
            message: Some(message),
            type_: Some(kind.as_str().to_owned()),
            source: Some(self.source.clone()),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            first_timestamp: Some(at.clone()),
            last_timestamp: Some(at),
            count: Some(count),
            ..Event::default()
        };
        (event, count)
    }
}

/// One write, and on the rare miss a second one: never more, events aren't worth it.
async fn write(client: Client, event: Event, count: i32) -> Result<(), kube::Error> {
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let name = event.metadata.name.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client, &namespace);
    if count > 1 {
        let patch = serde_json::json!({
            "count": count,
            "lastTimestamp": event.last_timestamp,
        });
        match api
            .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            // Expired, or the first write of the series failed: write it whole.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => return other.map(drop),
        }
    }
    api.create(&PostParams::default(), &event).await.map(drop)
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
