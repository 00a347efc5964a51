//! An API server in memory that remembers every state it was in.
//!
//! Kept from the real one: unique names, preconditions on uid and resourceVersion, a status that only its own
//! sub-resource writes, generations, finalizers, pods that go only when their node agent says so.

use crate::action::{Action, Deletion};
use crate::object::{Key, Object, ResourceType};
use crate::testing::{merge, now};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

type Objects = BTreeMap<(ResourceType, Key), Arc<Value>>;

#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub String);

pub struct FakeApi {
    /// By revision; the last one is the present.
    history: Vec<Objects>,
}

impl FakeApi {
    pub fn new() -> Self {
        Self {
            history: vec![Objects::new()],
        }
    }

    pub fn revision(&self) -> usize {
        self.history.len() - 1
    }

    /// All objects of a kind as they were at a revision.
    pub fn list<K: Object>(&self, revision: usize) -> Vec<Arc<K>> {
        let resource = ResourceType::of::<K>();
        let objects = self.history[revision].iter();
        let objects = objects.filter(|((kind, _), _)| *kind == resource);
        objects
            .map(|(_, object)| crate::testing::object(object.as_ref().clone()))
            .collect()
    }

    pub fn now<K: Object>(&self) -> Vec<Arc<K>> {
        self.list(self.revision())
    }

    /// What a user or a node agent does: a merge patch of the present object, without conditions.
    pub fn change<K: Object>(&mut self, key: &Key, patch: Value) {
        let place = (ResourceType::of::<K>(), key.clone());
        let mut object = self.objects()[&place].as_ref().clone();
        merge(&mut object, patch);
        self.store(place, object);
    }

    pub fn create<K: Object>(&mut self, object: Value) {
        let object: Arc<K> = crate::testing::object(object);
        self.perform(&Action::create(object.as_ref()))
            .expect("a new name");
    }

    /// The node agent says that the pod has ended.
    pub fn confirm(&mut self, resource: &ResourceType, key: &Key) {
        let place = (resource.clone(), key.clone());
        let mut object = self.objects()[&place].as_ref().clone();
        object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        self.store(place, object);
    }

    /// One write, or its refusal; a batch is its members'.
    pub fn perform(&mut self, action: &Action) -> Result<(), Refused> {
        match action {
            Action::Record(_) => Ok(()),
            Action::Verify(target) => {
                let object = self.find(&target.resource, &target.key, &target.uid)?;
                match object["metadata"]["deletionTimestamp"].is_null() {
                    true => Ok(()),
                    false => Err(Refused("being deleted".into())),
                }
            }
            Action::Create(body) => self.make(&body.resource, body.value.clone(), &body.key.namespace),
            Action::Update(body) => self.replace(&body.resource, &body.key, &body.value, false),
            Action::UpdateStatus(body) => self.replace(&body.resource, &body.key, &body.value, true),
            Action::Patch { target, patch, .. } => {
                let mut object = self.find(&target.resource, &target.key, &target.uid)?;
                let version = &patch["metadata"]["resourceVersion"];
                if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
                    return Err(Refused("another version".into()));
                }
                merge(&mut object, patch.clone());
                self.store((target.resource.clone(), target.key.clone()), object);
                Ok(())
            }
            Action::Delete(deletion) => self.delete(deletion),
            Action::Batch(members) => members.iter().try_for_each(|member| self.perform(member)),
            other => panic!("{} isn't known here", other.summary()),
        }
    }

    fn objects(&self) -> &Objects {
        self.history.last().expect("there is always a present")
    }

    fn find(&self, resource: &ResourceType, key: &Key, uid: &str) -> Result<Value, Refused> {
        let object = self.objects().get(&(resource.clone(), key.clone()));
        match object {
            Some(object) if uid.is_empty() || object["metadata"]["uid"] == uid => Ok(object.as_ref().clone()),
            _ => Err(Refused("not found".into())),
        }
    }

    fn make(&mut self, resource: &ResourceType, mut object: Value, namespace: &str) -> Result<(), Refused> {
        let next = self.history.len();
        if let Some(prefix) = object["metadata"]["generateName"].as_str() {
            object["metadata"]["name"] = json!(format!("{prefix}{next}"));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let place = (resource.clone(), Key::new(namespace, &name));
        if self.objects().contains_key(&place) {
            return Err(Refused("already exists".into()));
        }
        object["metadata"]["uid"] = json!(format!("uid-{next}"));
        object["metadata"]["creationTimestamp"] = json!(now().to_string());
        object["metadata"]["generation"] = json!(1);
        self.store(place, object);
        Ok(())
    }

    fn replace(
        &mut self,
        resource: &ResourceType,
        key: &Key,
        new: &Value,
        status: bool,
    ) -> Result<(), Refused> {
        let old = self.find(resource, key, new["metadata"]["uid"].as_str().unwrap_or_default())?;
        if new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
            return Err(Refused("another version".into()));
        }
        let mut next = if status { old.clone() } else { new.clone() };
        next["status"] = if status { &new["status"] } else { &old["status"] }.clone();
        self.store((resource.clone(), key.clone()), next);
        Ok(())
    }

    fn delete(&mut self, deletion: &Deletion) -> Result<(), Refused> {
        let target = &deletion.target;
        let Ok(mut object) = self.find(&target.resource, &target.key, &target.uid) else {
            // Gone, or another object: the real runner takes 404 for done, and a uid that differs for outdated.
            return Ok(());
        };
        if let Some(version) = &deletion.resource_version
            && object["metadata"]["resourceVersion"] != *version
        {
            return Err(Refused("another version".into()));
        }
        let place = (target.resource.clone(), target.key.clone());
        let bound = target.resource.kind == "Pod" && !object["spec"]["nodeName"].is_null();
        let ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        assert!(
            deletion.grace_seconds != Some(0) || !bound || ended,
            "a pod that may run is deleted by force: {}",
            target.key
        );
        object["metadata"]["deletionTimestamp"] = json!(now().to_string());
        object["metadata"]["deletionGracePeriodSeconds"] = json!(if bound && !ended { 30 } else { 0 });
        self.store(place, object);
        Ok(())
    }

    /// The next revision, in which an object is as given, or gone when nothing keeps it.
    fn store(&mut self, place: (ResourceType, Key), mut object: Value) {
        let mut objects = self.objects().clone();
        let revision = self.history.len();
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        if let Some(old) = objects.get(&place)
            && old["spec"] != object["spec"]
        {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        let metadata = &object["metadata"];
        let kept = metadata["finalizers"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        let asked = !metadata["deletionTimestamp"].is_null() && metadata["deletionGracePeriodSeconds"] == 0;
        if asked && !kept {
            objects.remove(&place);
        } else {
            objects.insert(place, Arc::new(object));
        }
        self.history.push(objects);
    }
}
