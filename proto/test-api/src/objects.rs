//! The objects, their history, and what may be written.

mod writing;

pub(crate) use writing::{Deletion, Subresource};

use crate::kinds::Kind;
use crate::request::Call;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use support::{Env, WallClock};
use tokio::sync::watch;

/// Where an object stands. The namespace of a cluster-scoped object is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub plural: &'static str,
    pub namespace: String,
    pub name: String,
}

pub type Objects = BTreeMap<Place, Arc<Value>>;

/// One change, as judges see it.
pub struct Write<'a> {
    pub revision: u64,
    /// The process that wrote, or `users`.
    pub by: &'a str,
    pub place: &'a Place,
    pub old: Option<&'a Value>,
    pub new: Option<&'a Value>,
    /// Everything after the write.
    pub objects: &'a Objects,
}

type Judge = Box<dyn FnMut(&Write<'_>) -> Result<(), String> + Send>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    revisions: watch::Sender<u64>,
    clock: Arc<dyn WallClock>,
    discovered: &'static [&'static str],
    keeps_events: bool,
}

#[derive(Default)]
struct State {
    objects: Objects,
    /// The event of revision `n` is at `n - 1`.
    log: Vec<Event>,
    judges: Vec<Judge>,
    broken: Option<String>,
    /// Whether things need a namespace: not before there is one.
    has_namespaces: bool,
}

struct Event {
    place: Place,
    verb: &'static str,
    object: Arc<Value>,
    by: String,
}

impl Event {
    fn told(&self) -> String {
        let Place {
            plural,
            namespace,
            name,
        } = &self.place;
        let (metadata, spec) = (&self.object["metadata"], &self.object["spec"]);
        let finalizers = &metadata["finalizers"];
        let who = format!("{} {} {plural} {namespace}/{name}", self.by, self.verb);
        match *plural {
            "leases" => format!("{who} {}", spec["holderIdentity"]),
            _ => format!(
                "{who} {} {finalizers} {}",
                spec["nodeName"], self.object["status"]
            ),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub cause: Option<&'static str>,
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            cause: None,
        }
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(404, "NotFound", format!("not found: {what}"))
    }

    pub fn bad(what: &str) -> Self {
        Self::new(400, "BadRequest", what)
    }

    fn conflict(what: &str) -> Self {
        Self::new(409, "Conflict", what)
    }
}

impl Api {
    pub(crate) fn new(clock: Arc<dyn WallClock>, discovered: &'static [&'static str]) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            revisions: watch::Sender::new(0),
            clock,
            discovered,
            keeps_events: false,
        }))
    }

    /// Without a world: time is the `env`'s, and events are kept too.
    pub fn with_events(env: &Env) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            revisions: watch::Sender::new(0),
            clock: Arc::clone(&env.clock),
            discovered: &[],
            keeps_events: true,
        }))
    }

    /// Asks `judge` about every write from now on. The first promise that is broken ends the story.
    pub fn judge(&self, judge: impl FnMut(&Write<'_>) -> Result<(), String> + Send + 'static) {
        self.state().judges.push(Box::new(judge));
    }

    /// What a judge found first, and the last writes before it.
    pub fn broken(&self) -> Option<String> {
        self.state().broken.clone()
    }

    /// All objects of a resource, by their places.
    pub fn list(&self, plural: &str) -> Vec<Arc<Value>> {
        let state = self.state();
        let mine = state.objects.iter().filter(|(place, _)| place.plural == plural);
        mine.map(|(_, object)| Arc::clone(object)).collect()
    }

    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let kind = Kind::named(plural)?;
        self.state().objects.get(&place(kind, namespace, name)).cloned()
    }

    /// Everything that was ever written, a line a write: the same for two runs of one seed.
    pub fn history(&self) -> String {
        let state = self.state();
        let lines = state.log.iter().enumerate();
        lines
            .map(|(at, event)| format!("{} {}\n", at + 1, event.told()))
            .collect()
    }

    pub(crate) fn discovered(&self) -> &'static [&'static str] {
        self.0.discovered
    }

    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.0.revisions.subscribe()
    }

    pub(crate) fn find(&self, place: &Place) -> Result<Value, Failure> {
        let state = self.state();
        let found = state.objects.get(place);
        found
            .map(|object| object.as_ref().clone())
            .ok_or_else(|| Failure::not_found(&place.name))
    }

    pub(crate) fn listed(&self, kind: &Kind, call: &Call) -> (Vec<Value>, usize) {
        let state = self.state();
        let wanted = |place: &Place, object: &Value| {
            place.plural == kind.plural
                && (call.namespace.is_empty() || place.namespace == call.namespace)
                && call.selects(object)
        };
        let items = state
            .objects
            .iter()
            .filter(|(place, object)| wanted(place, object));
        (
            items.map(|(_, object)| object.as_ref().clone()).collect(),
            state.log.len(),
        )
    }

    /// The lines of a watch for what happened after a revision, each with its own revision.
    pub(crate) fn events(&self, after: u64, call: &Call) -> Vec<(u64, Bytes)> {
        let plural = call.kind.map_or("", |kind| kind.plural);
        let state = self.state();
        let after = usize::try_from(after).unwrap_or(usize::MAX).min(state.log.len());
        let wanted = |event: &Event| {
            event.place.plural == plural
                && (call.namespace.is_empty() || event.place.namespace == call.namespace)
                && call.selects(&event.object)
        };
        let later = (after as u64 + 1..).zip(&state.log[after..]);
        later
            .filter(|(_, event)| wanted(event))
            .map(|(revision, event)| {
                let line = json!({"type": event.verb, "object": event.object.as_ref()});
                (revision, Bytes::from(format!("{line}\n")))
            })
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> String {
        self.0.clock.now().to_string()
    }
}

fn place(kind: &Kind, namespace: &str, name: &str) -> Place {
    Place {
        plural: kind.plural,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// Whether a pod or a node says that it is ready.
pub fn ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
