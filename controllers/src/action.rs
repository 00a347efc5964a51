//! What a plan may ask for. Plans are data: the runner executes them, tests compare them.
//!
//! Invariants:
//! - Every write of an existing object carries the resourceVersion or uid that the plan saw, so that a stale plan
//!   fails with a conflict and is made again instead of doing harm.
//! - Actions are executed in order; the first failure ends the plan. [`Action::Batch`] is the exception: its members
//!   are independent, run concurrently in growing batches, and the first failing batch ends it.

use crate::object::{Key, MetaView, Object, ResourceType};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use std::time::Duration;

/// What to do for one key, and when to look again without being told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub again_after: Option<Duration>,
}

impl Plan {
    pub fn nothing() -> Self {
        Self::default()
    }

    pub fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Looks again after `delay` at the latest; the earliest request wins.
    pub fn look_again(&mut self, delay: Duration) {
        self.again_after = Some(self.again_after.map_or(delay, |earlier| earlier.min(delay)));
    }
}

impl From<Vec<Action>> for Plan {
    fn from(actions: Vec<Action>) -> Self {
        Self {
            actions,
            again_after: None,
        }
    }
}

/// One object named exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub resource: ResourceType,
    pub key: Key,
    pub uid: String,
}

impl Target {
    pub fn of<K: Object>(object: &K) -> Self {
        Self {
            resource: ResourceType::of::<K>(),
            key: Key::of(object.meta()),
            uid: object.meta().uid().to_owned(),
        }
    }
}

/// A whole object to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    pub resource: ResourceType,
    pub key: Key,
    pub value: Value,
}

impl Body {
    pub fn of<K: Object>(object: &K) -> Self {
        let mut value = serde_json::to_value(object).expect("API types have string keys only");
        let resource = ResourceType::of::<K>();
        value["apiVersion"] = Value::String(resource.api_version());
        value["kind"] = Value::String(resource.kind.clone());
        Self {
            resource,
            key: Key::of(object.meta()),
            value,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// What happens to the dependents, how long the object may take, what must still hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    pub target: Target,
    pub propagation: Option<Propagation>,
    pub grace_seconds: Option<u32>,
    /// Delete only this version of the object.
    pub resource_version: Option<String>,
}

/// An event to record about an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub regarding: ObjectReference,
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Reads the object from the server (not the cache); the plan goes on only if it still has this uid and isn't
    /// being deleted. Stands before adoptions, as upstream's `RecheckDeletionTimestamp`.
    Verify(Target),
    Create(Body),
    /// Replaces the object at the resourceVersion it carries.
    Update(Body),
    UpdateStatus(Body),
    /// Replaces a sub-resource other than `status` with the whole object (`finalize`, `approval`).
    UpdateSubresource(Body, &'static str),
    /// A merge patch; holds uid, and resourceVersion where a lost update would matter.
    Patch {
        target: Target,
        patch: Value,
        subresource: Option<&'static str>,
    },
    Delete(Deletion),
    /// Everything of a resource in a namespace.
    DeleteCollection {
        resource: ResourceType,
        namespace: String,
    },
    Record(Note),
    /// Independent actions in slow-start batches of 1, 2, 4, ...
    Batch(Vec<Action>),
}

impl Action {
    pub fn create<K: Object>(object: &K) -> Self {
        Self::Create(Body::of(object))
    }

    pub fn update<K: Object>(object: &K) -> Self {
        Self::Update(Body::of(object))
    }

    pub fn update_status<K: Object>(object: &K) -> Self {
        Self::UpdateStatus(Body::of(object))
    }

    pub fn verify<K: Object>(object: &K) -> Self {
        Self::Verify(Target::of(object))
    }

    /// A merge patch that only succeeds on the version of `object` the plan saw.
    pub fn patch_seen<K: Object>(object: &K, mut patch: Value) -> Self {
        let meta: &ObjectMeta = object.meta();
        patch["metadata"]["uid"] = json!(meta.uid());
        patch["metadata"]["resourceVersion"] = json!(meta.resource_version());
        Self::Patch {
            target: Target::of(object),
            patch,
            subresource: None,
        }
    }

    pub fn patch_status_seen<K: Object>(object: &K, patch: Value) -> Self {
        match Self::patch_seen(object, patch) {
            Self::Patch { target, patch, .. } => Self::Patch {
                target,
                patch,
                subresource: Some("status"),
            },
            other => other,
        }
    }

    /// Deletes exactly this object (by uid) with the resource's default propagation and grace.
    pub fn delete<K: Object>(object: &K) -> Self {
        Self::Delete(Deletion {
            target: Target::of(object),
            propagation: None,
            grace_seconds: None,
            resource_version: None,
        })
    }

    /// Deletes only if nobody changed the object since it was seen.
    pub fn delete_seen<K: Object>(object: &K) -> Self {
        Self::Delete(Deletion {
            target: Target::of(object),
            propagation: None,
            grace_seconds: None,
            resource_version: Some(object.meta().resource_version().to_owned()),
        })
    }

    /// As [`Action::delete_seen`], with what becomes of the dependents.
    pub fn delete_seen_with<K: Object>(object: &K, propagation: Propagation) -> Self {
        Self::Delete(Deletion {
            target: Target::of(object),
            propagation: Some(propagation),
            grace_seconds: None,
            resource_version: Some(object.meta().resource_version().to_owned()),
        })
    }

    pub fn record<K: Object>(object: &K, warning: bool, reason: &'static str, message: String) -> Self {
        let meta: &ObjectMeta = object.meta();
        Self::Record(Note {
            regarding: ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                field_path: None,
            },
            warning,
            reason,
            message,
        })
    }

    /// One line for logs and for tests that read as stories.
    pub fn summary(&self) -> String {
        let named =
            |verb: &str, resource: &ResourceType, key: &Key| format!("{verb} {} {key}", resource.kind);
        match self {
            Self::Verify(target) => named("verify", &target.resource, &target.key),
            Self::Create(body) => {
                let mut key = body.key.clone();
                if key.name.is_empty() {
                    key.name = body.value["metadata"]["generateName"]
                        .as_str()
                        .map(|prefix| format!("{prefix}*"))
                        .unwrap_or_default();
                }
                named("create", &body.resource, &key)
            }
            Self::Update(body) => named("update", &body.resource, &body.key),
            Self::UpdateStatus(body) => named("status", &body.resource, &body.key),
            Self::UpdateSubresource(body, subresource) => named(subresource, &body.resource, &body.key),
            Self::Patch { target, .. } => named("patch", &target.resource, &target.key),
            Self::Delete(deletion) => named("delete", &deletion.target.resource, &deletion.target.key),
            Self::DeleteCollection { resource, namespace } => {
                named("delete all", resource, &Key::cluster(namespace))
            }
            Self::Record(note) => format!("event {}: {}", note.reason, note.message),
            Self::Batch(members) => members.iter().map(Self::summary).collect::<Vec<_>>().join("; "),
        }
    }
}
