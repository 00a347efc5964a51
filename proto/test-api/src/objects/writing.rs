//! Writes, and what they must hold to.

use super::{Api, Event, Failure, Place, State, Write, place};
use crate::kinds::Kind;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Who writes without being a process under test: users, schedulers and node agents of the story.
const USERS: &str = "users";
/// Writes that are told with a broken promise.
const TOLD: usize = 25;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subresource {
    None,
    Status,
    Finalize,
}

#[derive(Default)]
pub(crate) struct Deletion {
    uid: Option<String>,
    resource_version: Option<String>,
    grace_seconds: Option<i64>,
    propagation: Option<String>,
}

impl Deletion {
    pub fn read(body: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            uid: text(&body["preconditions"]["uid"]),
            resource_version: text(&body["preconditions"]["resourceVersion"]),
            grace_seconds: body["gracePeriodSeconds"].as_i64(),
            propagation: text(&body["propagationPolicy"]),
        }
    }
}

/// What users and node agents do: at once, and without faults.
impl Api {
    /// # Panics
    /// When the object can't be made: a story that asks for it is wrong.
    pub fn create(&self, plural: &str, object: Value) -> Value {
        let kind = Kind::named(plural).expect("a resource that is known");
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        match self.make(USERS, kind, &namespace, object) {
            Ok(made) => made,
            Err(failure) => panic!("{plural}: {}", failure.message),
        }
    }

    /// A merge patch of the present object, status included. Nothing when it's gone.
    pub fn change(&self, plural: &str, namespace: &str, name: &str, patch: Value) {
        let place = named(plural, namespace, name);
        let mut state = self.state();
        if let Some(old) = state.objects.get(&place).cloned() {
            let mut new = old.as_ref().clone();
            merge(&mut new, patch, false);
            self.store(&mut state, USERS, place, new);
        }
    }

    /// Deletes as a user does, with a propagation policy if one is given. Nothing when it's gone.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str, propagation: Option<&str>) {
        let deletion = Deletion {
            propagation: propagation.map(str::to_owned),
            ..Deletion::default()
        };
        let _ = self.remove(USERS, &named(plural, namespace, name), &deletion);
    }

    /// The node agent says that a deleted pod has ended.
    pub fn confirm(&self, namespace: &str, name: &str) {
        let place = named("pods", namespace, name);
        let mut state = self.state();
        if let Some(old) = state.objects.get(&place).cloned() {
            let mut new = old.as_ref().clone();
            new["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            self.store(&mut state, USERS, place, new);
        }
    }

    /// Evicts a ready pod as far as its budget allows: spends one disruption, then deletes. Says whether it was allowed.
    /// Source: `pkg/registry/core/pod/storage/eviction.go` (1.36).
    pub fn evict(&self, namespace: &str, pod: &str, budget: &str) -> bool {
        let place = named("poddisruptionbudgets", namespace, budget);
        let mut state = self.state();
        let Some(mut spent) = state.objects.get(&place).map(|budget| budget.as_ref().clone()) else {
            return false;
        };
        let allowed = spent["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
        let observed = spent["status"]["observedGeneration"].as_i64().unwrap_or(0);
        if allowed <= 0 || observed < spent["metadata"]["generation"].as_i64().unwrap_or(0) {
            return false;
        }
        spent["status"]["disruptionsAllowed"] = json!(allowed - 1);
        spent["status"]["disruptedPods"][pod] = json!(self.now());
        self.store(&mut state, USERS, place, spent);
        drop(state);
        self.delete("pods", namespace, pod, None);
        true
    }
}

impl Api {
    pub(crate) fn make(
        &self,
        by: &str,
        kind: &Kind,
        namespace: &str,
        mut object: Value,
    ) -> Result<Value, Failure> {
        if kind.plural == "events" && !self.0.keeps_events {
            // Nobody reads them, and there are many.
            object["metadata"]["resourceVersion"] = json!("1");
            return Ok(object);
        }
        let mut state = self.state();
        let next = state.log.len() + 1;
        admit(&state, kind, namespace)?;
        if let Some(prefix) = object["metadata"]["generateName"].as_str() {
            object["metadata"]["name"] = json!(format!("{prefix}{next}"));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let place = place(kind, namespace, &name);
        if state.objects.contains_key(&place) {
            return Err(Failure::new(
                409,
                "AlreadyExists",
                format!("already exists: {name}"),
            ));
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        if kind.namespaced {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object["metadata"]["uid"] = json!(format!("uid-{next}"));
        object["metadata"]["creationTimestamp"] = json!(self.now());
        object["metadata"]["generation"] = json!(1);
        match kind.plural {
            "pods" if object["status"]["phase"].is_null() => object["status"]["phase"] = json!("Pending"),
            "namespaces" => {
                object["spec"] = json!({"finalizers": ["kubernetes"]});
                object["status"] = json!({"phase": "Active"});
                state.has_namespaces = true;
            }
            _ => {}
        }
        Ok(self.store(&mut state, by, place, object))
    }

    pub(crate) fn replace(
        &self,
        by: &str,
        place: &Place,
        new: &Value,
        subresource: Subresource,
    ) -> Result<Value, Failure> {
        let mut state = self.state();
        let old = existing(&state, place)?;
        meets(&old, new)?;
        let next = written(&old, new, subresource);
        Ok(self.store(&mut state, by, place.clone(), next))
    }

    pub(crate) fn patch(
        &self,
        by: &str,
        place: &Place,
        patch: &Value,
        subresource: Subresource,
        strategic: bool,
    ) -> Result<Value, Failure> {
        let mut state = self.state();
        let old = existing(&state, place)?;
        meets(&old, patch)?;
        let mut new = old.as_ref().clone();
        merge(&mut new, patch.clone(), strategic);
        let next = written(&old, &new, subresource);
        Ok(self.store(&mut state, by, place.clone(), next))
    }

    pub(crate) fn bind(&self, by: &str, place: &Place, binding: &Value) -> Result<(), Failure> {
        let mut state = self.state();
        let old = existing(&state, place)?;
        let uid = &binding["metadata"]["uid"];
        if !uid.is_null() && *uid != old["metadata"]["uid"] {
            return Err(Failure::conflict("another pod of this name"));
        }
        if !old["spec"]["nodeName"].is_null() || !old["metadata"]["deletionTimestamp"].is_null() {
            return Err(Failure::conflict("bound already, or being deleted"));
        }
        let mut new = old.as_ref().clone();
        new["spec"]["nodeName"] = binding["target"]["name"].clone();
        self.store(&mut state, by, place.clone(), new);
        Ok(())
    }

    pub(crate) fn remove(&self, by: &str, place: &Place, deletion: &Deletion) -> Result<(), Failure> {
        let mut state = self.state();
        let old = existing(&state, place)?;
        let metadata = &old["metadata"];
        let differs =
            |wanted: &Option<String>, have: &Value| wanted.as_ref().is_some_and(|wanted| have != wanted);
        if differs(&deletion.uid, &metadata["uid"])
            || differs(&deletion.resource_version, &metadata["resourceVersion"])
        {
            return Err(Failure::conflict("another object, or another version of it"));
        }
        let new = marked(&old, deletion, &self.now());
        self.store(&mut state, by, place.clone(), new);
        Ok(())
    }

    pub(crate) fn remove_all(&self, by: &str, kind: &Kind, namespace: &str) {
        let state = self.state();
        let mine = state
            .objects
            .keys()
            .filter(|place| place.plural == kind.plural && place.namespace == namespace);
        let places: Vec<Place> = mine.cloned().collect();
        drop(state);
        for place in places {
            let _ = self.remove(by, &place, &Deletion::default());
        }
    }

    /// The next revision, in which an object is as given, or gone when it's deleted and nothing keeps it.
    fn store(&self, state: &mut State, by: &str, place: Place, mut object: Value) -> Value {
        let old = state.objects.get(&place).cloned();
        if old.as_deref() == Some(&object) {
            return object;
        }
        let revision = state.log.len() as u64 + 1;
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        if let Some(old) = &old
            && old["spec"] != object["spec"]
        {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        let gone = ends(&place, &object);
        let object = Arc::new(object);
        let verb = match (&old, gone) {
            (_, true) => "DELETED",
            (None, false) => "ADDED",
            (Some(_), false) => "MODIFIED",
        };
        if gone {
            state.objects.remove(&place);
        } else {
            state.objects.insert(place.clone(), Arc::clone(&object));
        }
        state.log.push(Event {
            place: place.clone(),
            verb,
            object: Arc::clone(&object),
            by: by.to_owned(),
        });
        let new = Some(object.as_ref()).filter(|_| !gone);
        judge(state, by, revision, &place, old.as_deref(), new);
        self.0.revisions.send_replace(revision);
        object.as_ref().clone()
    }
}

fn judge(
    state: &mut State,
    by: &str,
    revision: u64,
    place: &Place,
    old: Option<&Value>,
    new: Option<&Value>,
) {
    if state.broken.is_some() {
        return;
    }
    let mut judges = std::mem::take(&mut state.judges);
    let objects = &state.objects;
    let write = Write {
        revision,
        by,
        place,
        old,
        new,
        objects,
    };
    let broken = judges.iter_mut().find_map(|judge| judge(&write).err());
    state.judges = judges;
    state.broken = broken.map(|broken| {
        let interesting = state
            .log
            .iter()
            .enumerate()
            .filter(|(_, event)| event.place.plural != "leases");
        let mut last: Vec<String> = interesting
            .map(|(at, event)| format!("{} {}", at + 1, event.told()))
            .collect();
        last.drain(..last.len().saturating_sub(TOLD));
        format!("{broken}\n{}", last.join("\n"))
    });
}

/// Namespaces that are terminating take nothing in, nor do those that aren't there.
fn admit(state: &State, kind: &Kind, namespace: &str) -> Result<(), Failure> {
    if !kind.namespaced || !state.has_namespaces || kind.plural == "leases" {
        return Ok(());
    }
    let Some(found) = state.objects.get(&named("namespaces", "", namespace)) else {
        return Err(Failure::not_found(namespace));
    };
    if found["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let mut failure = Failure::new(403, "Forbidden", "the namespace is being terminated");
    failure.cause = Some("NamespaceTerminating");
    Err(failure)
}

fn existing(state: &State, place: &Place) -> Result<Arc<Value>, Failure> {
    let found = state.objects.get(place).cloned();
    found.ok_or_else(|| Failure::not_found(&place.name))
}

/// The uid and the version that a write names must be the object's.
fn meets(old: &Value, new: &Value) -> Result<(), Failure> {
    for field in ["uid", "resourceVersion"] {
        let wanted = &new["metadata"][field];
        if !wanted.is_null() && *wanted != old["metadata"][field] {
            return Err(Failure::conflict("another object, or another version of it"));
        }
    }
    Ok(())
}

/// What becomes of an object when `new` is written through a sub-resource.
fn written(old: &Value, new: &Value, subresource: Subresource) -> Value {
    match subresource {
        Subresource::Status => with(old, "status", &new["status"]),
        Subresource::Finalize => {
            let mut next = old.clone();
            next["spec"]["finalizers"] = new["spec"]["finalizers"].clone();
            next
        }
        Subresource::None => {
            let mut next = with(new, "status", &old["status"]);
            next["apiVersion"] = old["apiVersion"].clone();
            next["kind"] = old["kind"].clone();
            for field in [
                "uid",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "generation",
            ] {
                next["metadata"] = with(&next["metadata"], field, &old["metadata"][field]);
            }
            next["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            next
        }
    }
}

fn with(object: &Value, field: &str, value: &Value) -> Value {
    let mut object = object.clone();
    match (object.as_object_mut(), value.is_null()) {
        (Some(fields), true) => {
            fields.remove(field);
        }
        _ => object[field] = value.clone(),
    }
    object
}

/// The object as a deletion leaves it: marked, held by the finalizers of its propagation.
fn marked(old: &Value, deletion: &Deletion, now: &str) -> Value {
    let mut new = old.clone();
    let hold = match deletion.propagation.as_deref() {
        Some("Foreground") => Some("foregroundDeletion"),
        Some("Orphan") => Some("orphan"),
        _ => None,
    };
    if let Some(hold) = hold {
        let mut finalizers = new["metadata"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if !finalizers.contains(&json!(hold)) {
            finalizers.push(json!(hold));
        }
        new["metadata"]["finalizers"] = json!(finalizers);
    }
    let ended = matches!(old["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let runs = old["kind"] == "Pod" && !old["spec"]["nodeName"].is_null() && !ended;
    let grace = if runs {
        deletion.grace_seconds.unwrap_or(30)
    } else {
        0
    };
    let before = old["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(i64::MAX);
    if new["metadata"]["deletionTimestamp"].is_null() {
        new["metadata"]["deletionTimestamp"] = json!(now);
    }
    new["metadata"]["deletionGracePeriodSeconds"] = json!(grace.min(before));
    if old["kind"] == "Namespace" {
        new["status"]["phase"] = json!("Terminating");
    }
    new
}

/// Whether an object leaves with this state.
fn ends(place: &Place, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let held = place.plural == "namespaces" && !empty(&object["spec"]["finalizers"]);
    !metadata["deletionTimestamp"].is_null()
        && metadata["deletionGracePeriodSeconds"] == 0
        && empty(&metadata["finalizers"])
        && !held
}

fn named(plural: &str, namespace: &str, name: &str) -> Place {
    place(
        Kind::named(plural).expect("a resource that is known"),
        namespace,
        name,
    )
}

/// A JSON merge patch; a strategic one merges conditions by their types.
fn merge(into: &mut Value, from: Value, strategic: bool) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                } else if strategic && key == "conditions" {
                    merge_conditions(into, value);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value, strategic);
                }
            }
        }
        (into, from) => *into = from,
    }
}

fn merge_conditions(into: &mut Map<String, Value>, from: Value) {
    let mut all = into
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for new in from.as_array().cloned().unwrap_or_default() {
        match all.iter_mut().find(|old| old["type"] == new["type"]) {
            Some(old) => merge(old, new, true),
            None => all.push(new),
        }
    }
    into.insert("conditions".to_owned(), Value::Array(all));
}
