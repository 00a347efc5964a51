//! `metadata.managedFields`: reading, writing, and keeping the list short.
//!
//! Follows `managedfields/internal/{managedfields,capmanagers}.go`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Writer;
use super::field_set::FieldSet;
use crate::tree;

/// Update managers beyond this number are folded into one (`DefaultMaxUpdateManagers`).
const MAX_UPDATE_MANAGERS: usize = 10;
const OLD_MANAGERS: &str = "ancient-changes";

/// What tells two entries apart. An applier is the same whatever version it applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManagerKey {
    pub manager: String,
    /// `Apply` or `Update`
    pub operation: String,
    /// empty for `Apply`
    pub api_version: String,
    pub subresource: String,
}

impl ManagerKey {
    pub(super) fn updater(writer: &Writer<'_>) -> Self {
        Self {
            manager: name(writer.manager),
            operation: "Update".to_owned(),
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
        }
    }

    pub(super) fn applier(writer: &Writer<'_>) -> Self {
        Self {
            manager: name(writer.manager),
            operation: "Apply".to_owned(),
            api_version: String::new(),
            subresource: writer.subresource.to_owned(),
        }
    }
}

fn name(manager: &str) -> String {
    if manager.is_empty() {
        "unknown".to_owned()
    } else {
        manager.to_owned()
    }
}

/// What one manager owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owned {
    pub set: FieldSet,
    pub api_version: String,
    pub time: Option<String>,
}

/// The managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Managed {
    pub entries: BTreeMap<ManagerKey, Owned>,
}

impl Managed {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads the entries of an object.
    pub(super) fn read(object: &Value) -> Result<Self, String> {
        let mut managed = Self::default();
        for (i, entry) in tree::list(object, &["metadata", "managedFields"])
            .iter()
            .enumerate()
        {
            let text = |field: &str| tree::text(entry, &[field]).to_owned();
            let operation = text("operation");
            if !["Apply", "Update"].contains(&operation.as_str()) {
                return Err("operation must be `Apply` or `Update`".to_owned());
            }
            let api_version = text("apiVersion");
            if api_version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match text("fieldsType").as_str() {
                "FieldsV1" => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {i}")),
                other => {
                    return Err(format!(
                        "invalid fieldsType {other:?} in managed fields entry {i}"
                    ));
                }
            }
            let set = match entry.get("fieldsV1") {
                None | Some(Value::Null) => FieldSet::default(),
                Some(fields) => FieldSet::from_value(fields)
                    .ok_or_else(|| format!("error decoding set of managed fields entry {i}"))?,
            };
            let key = ManagerKey {
                manager: text("manager"),
                api_version: if operation == "Apply" {
                    String::new()
                } else {
                    api_version.clone()
                },
                operation,
                subresource: text("subresource"),
            };
            let time = tree::at(entry, &["time"])
                .and_then(Value::as_str)
                .map(str::to_owned);
            managed.entries.insert(
                key,
                Owned {
                    set,
                    api_version,
                    time,
                },
            );
        }
        Ok(managed)
    }

    /// Writes the entries into an object: appliers first, then by time and name.
    pub(super) fn write(&self, object: &mut Value) {
        if self.entries.is_empty() {
            tree::remove(object, &["metadata", "managedFields"]);
            return;
        }
        let mut entries: Vec<(&ManagerKey, &Owned)> = self.entries.iter().collect();
        entries.sort_by(|(a, x), (b, y)| {
            let order = |k: &ManagerKey, o: &Owned| (k.operation.clone(), o.time.clone(), k.manager.clone());
            order(a, x)
                .cmp(&order(b, y))
                .then_with(|| x.api_version.cmp(&y.api_version))
                .then_with(|| a.subresource.cmp(&b.subresource))
        });
        let list: Vec<Value> = entries
            .into_iter()
            .map(|(key, owned)| entry(key, owned))
            .collect();
        tree::set(object, &["metadata", "managedFields"], list);
    }

    /// Sets the time of an entry when the object changed, and of a new entry.
    pub(super) fn set_time(&mut self, key: &ManagerKey, now: &str, changed: bool) {
        if let Some(owned) = self.entries.get_mut(key)
            && (changed || owned.time.is_none())
        {
            owned.time = Some(now.to_owned());
        }
    }

    /// Folds the oldest update managers of each version into one entry.
    pub(super) fn cap_update_managers(&mut self) {
        let mut updaters: Vec<(Option<String>, ManagerKey)> = self
            .entries
            .iter()
            .filter(|(key, _)| key.operation == "Update")
            .map(|(key, owned)| (owned.time.clone(), key.clone()))
            .collect();
        let mut count = updaters.len();
        updaters.sort();
        let mut first_of: BTreeMap<String, ManagerKey> = BTreeMap::new();
        for (time, key) in updaters {
            if count <= MAX_UPDATE_MANAGERS {
                return;
            }
            let version = key.api_version.clone();
            let Some(first) = first_of.get(&version).cloned() else {
                first_of.insert(version, key);
                continue;
            };
            let bucket = ManagerKey {
                manager: OLD_MANAGERS.to_owned(),
                operation: "Update".to_owned(),
                api_version: version,
                subresource: String::new(),
            };
            if key == bucket {
                continue;
            }
            if !self.entries.contains_key(&bucket)
                && let Some(owned) = self.entries.remove(&first)
            {
                self.entries.insert(bucket.clone(), owned);
            }
            if let (Some(folded), Some(into)) = (self.entries.remove(&key), self.entries.get_mut(&bucket)) {
                into.set = into.set.union(&folded.set);
                into.time = time;
                count -= 1;
            }
        }
    }
}

fn entry(key: &ManagerKey, owned: &Owned) -> Value {
    let mut map = Map::new();
    map.insert("manager".to_owned(), key.manager.clone().into());
    map.insert("operation".to_owned(), key.operation.clone().into());
    map.insert("apiVersion".to_owned(), owned.api_version.clone().into());
    if let Some(time) = &owned.time {
        map.insert("time".to_owned(), time.clone().into());
    }
    map.insert("fieldsType".to_owned(), "FieldsV1".into());
    map.insert("fieldsV1".to_owned(), owned.set.to_value());
    if !key.subresource.is_empty() {
        map.insert("subresource".to_owned(), key.subresource.clone().into());
    }
    Value::Object(map)
}
